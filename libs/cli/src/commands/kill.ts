// ssi kill: kill(1) over all nodes. `-TERM`, `-9` and negative pids are understood (arguments.ts).
import { signalArgument, targetsArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { exitCode, signalNames } from '../status.ts';

interface Options {
  readonly signal: number;
  readonly list?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, shell) => {
  command
    .usage('[-SIGNAL] [--] PID...')
    .argument('[pid...]', 'a process, or minus a process group', targetsArgument)
    .option('-s, --signal <signal>', 'name or number, or simply -TERM, -9', signalArgument, 15)
    .option('-l, --list', 'list the signals')
    .option('--json', 'as JSON: [{pid,signal,delivered}]')
    .addHelpText(
      'after',
      `
Examples:
  ssi kill 65601
  ssi kill -STOP 65601
  ssi kill -9 -- -65601        every process of the group, on whichever node
  ssi kill -0 65601            only asks whether it is there`,
    )
    .action(
      shell.act(async (targets: number[] | undefined, options: Options) => {
        if (options.list) {
          for (const { number, name } of signalNames()) shell.out(`${number} ${name}\n`);
          return exitCode.ok;
        }
        if (!targets?.length) return shell.usage(command, 'which process?');
        return shell.withSsi(command, async (ssi) => {
          let code: number = exitCode.ok;
          const done: object[] = [];
          for (const pid of targets) {
            const reply = await shell.progress(`signal to ${pid}`, ssi.kill(pid, options.signal));
            if (reply.ok)
              done.push({ pid, signal: options.signal, delivered: reply.value.delivered });
            else code = shell.fail(command, pid, reply);
          }
          if (options.json) shell.json(done);
          return code;
        });
      }),
    );
};
