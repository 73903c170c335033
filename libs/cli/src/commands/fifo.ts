// ssi fifo: named pipes of the cluster; bytes of standard input on one node are standard output on another. [fifo(7)]
import { modeArgument, nodeArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { exitCode } from '../status.ts';
import { withIpc, writeOutput } from '../with-ipc.ts';

interface Options {
  readonly mode: number;
  readonly node?: number;
}

export const define: Define = (command, shell) => {
  const verb = (name: string, summary: string) =>
    command
      .command(name)
      .description(summary)
      .argument('<path>', 'absolute; a name only, no file')
      .option('--node <num>', "the node that is asked; default: this one's", nodeArgument);

  const make = verb('make', 'a new fifo on that node');
  make.option('--mode <mode>', 'rights', modeArgument, 0o600).action(
    shell.act((path: string, options: Options) =>
      withIpc(shell, make, options, async (ipc) => {
        const reply = await ipc.mkfifo(path, options.mode);
        return reply.ok ? exitCode.ok : shell.fail(make, path, reply);
      }),
    ),
  );

  const read = verb('read', 'to standard output, until every writer is gone');
  read
    .addHelpText('after', '\nExamples:\n  ssi fifo make /backup; ssi fifo read /backup | tar xf -')
    .action(
      shell.act((path: string, options: Options) =>
        withIpc(shell, read, options, async (ipc) => {
          const opening = ipc.openFifo(path, { read: true });
          const end = await shell.progress(`waiting for a writer of ${path}`, opening);
          if (!end.ok) return shell.fail(read, path, end);
          for (;;) {
            const reply = await end.value.read();
            if (!reply.ok) return shell.fail(read, path, reply);
            if (reply.value.length === 0) return exitCode.ok;
            await writeOutput(shell, reply.value);
          }
        }),
      ),
    );

  const write = verb('write', 'standard input into it');
  write.addHelpText('after', '\nExamples:\n  tar cf - /data | ssi fifo write /backup').action(
    shell.act((path: string, options: Options) =>
      withIpc(shell, write, options, async (ipc) => {
        const opening = ipc.openFifo(path, { write: true });
        const end = await shell.progress(`waiting for a reader of ${path}`, opening);
        if (!end.ok) return shell.fail(write, path, end);
        for await (const part of shell.io.stdin) {
          const bytes = Buffer.from(part);
          const reply = await end.value.write(bytes);
          if (!reply.ok) return shell.fail(write, path, reply);
          // Some of it went in before the last reader was gone.
          if (reply.value < bytes.length) return exitCode.brokenPipe;
        }
        return exitCode.ok;
      }),
    ),
  );
};
