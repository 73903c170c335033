// ssi why-not: every reason that keeps a process from moving, before anybody tries.
import { nodeArgument, pidArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { table } from '../output.ts';
import { exitCode } from '../status.ts';

interface Options {
  readonly to?: number;
  readonly group?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, shell) => {
  command
    .argument('<pid>', 'a process', pidArgument)
    .option('--to <node>', 'to that node (default: what is wrong with it anywhere)', nodeArgument)
    .option('-g, --group', 'its whole process group')
    .option('--json', 'as JSON: {movable,reasons:[{code,detail}]}')
    .addHelpText(
      'after',
      '\nEnds with 0 where it could move, with 1 where not. Of a move with --post-copy it cannot say whether the\nconnection will last: see "ssi migrate --help".\n\nExamples:\n  ssi why-not 65601\n  ssi why-not 65601 --to 3 --json',
    )
    .action(
      shell.act((pid: number, options: Options) =>
        shell.withSsi(command, async (ssi) => {
          const { json, ...query } = options;
          const reply = await shell.progress(`looking at ${pid}`, ssi.whyNot(pid, query));
          if (!reply.ok) return shell.fail(command, pid, reply);
          const { movable, reasons } = reply.value;
          if (json) {
            shell.json({ movable, reasons });
            return exitCode.ok;
          }
          if (movable) shell.out(`${pid}: movable\n`);
          else
            shell.out(
              table(
                [
                  { title: 'CODE', of: (r) => r.code },
                  { title: 'PID', of: (r) => r.pid ?? pid, align: 'right' },
                  { title: 'WHY', of: (r) => r.detail },
                ],
                reasons,
                { paint: shell.paint },
              ),
            );
          return movable ? exitCode.ok : exitCode.failed;
        }),
      ),
    );
};
