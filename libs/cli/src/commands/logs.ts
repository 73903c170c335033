// ssi logs: what a process wrote, from the first byte that is kept; goes on with --follow, over moves.
import { pidArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { lineWriter } from '../foreground.ts';
import { jsonLine } from '../output.ts';
import { exitCode } from '../status.ts';

interface Options {
  readonly follow?: boolean;
  readonly new?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, shell) => {
  command
    .argument('<pid>', 'a process started by ssi run', pidArgument)
    .option('-f, --follow', 'until it ends')
    .option('--new', 'only what it writes from now on (with --follow)')
    .option('--json', 'one JSON object a line: {stream,offset,bytes} with bytes in base64')
    .addHelpText(
      'after',
      `
Standard output to standard output, standard error to standard error. The last 64 MiB of each are kept.

Examples:
  ssi logs 65601 | tail
  ssi logs 65601 --follow`,
    )
    .action(
      shell.act((pid: number, options: Options) =>
        shell.withSsi(command, async (ssi) => {
          const attached = ssi.attach(pid, {
            follow: options.follow ?? false,
            from: options.new ? 'end' : 'start',
          });
          shell.interrupted.addEventListener('abort', () => attached.close(), { once: true });
          const out = lineWriter(shell.io.stdout, undefined);
          const err = lineWriter(shell.io.stderr, undefined);
          for await (const event of attached.events()) {
            if (event.type === 'failed') return shell.fail(command, pid, event.failure);
            if (event.type === 'gap')
              shell.note(`logs: ${pid}: ${event.bytes} bytes are no longer kept`);
            if (event.type !== 'data') continue;
            const { stream, offset, bytes } = event;
            if (options.json)
              await out.write(
                Buffer.from(
                  jsonLine({ stream, offset, bytes: Buffer.from(bytes).toString('base64') }),
                ),
              );
            else await (stream === 'err' ? err : out).write(bytes);
          }
          return exitCode.ok;
        }),
      ),
    );
};
