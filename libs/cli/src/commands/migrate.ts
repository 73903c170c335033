// ssi migrate: moves a running process, with its descendants or its whole group, to another node.
import { nodeArgument, pidArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { bytes, duration } from '../output.ts';

interface Options {
  readonly group?: boolean;
  readonly postCopy?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, shell) => {
  command
    .argument('<pid>', 'process to move, with its descendants', pidArgument)
    .argument('<node>', 'where to', nodeArgument)
    .option('-g, --group', 'its whole process group')
    .option(
      '--post-copy',
      'resume before all memory is there: shorter, but a broken link loses the process',
    )
    .option('-f, --force', 'also one that was pinned to its node')
    .option('--json', 'as JSON: {pid,from,to,freezeMs,bytes,traceId}')
    .addHelpText(
      'after',
      `
With --post-copy the program runs at the target before its memory is there. It is stopped for the shortest
time, but if the connection, the target's vproc or the source breaks before the rest has come, the process is
killed (SIGKILL): then it is on neither node. Without it nothing is lost; memory goes ahead instead.

A move that is refused or fails leaves the process running where it was. "ssi why-not PID" asks before.

Examples:
  ssi migrate 65601 2
  ssi trace $(ssi migrate 65601 3 --json | jq -r .traceId)`,
    )
    .action(
      shell.act((pid: number, to: number, options: Options) =>
        shell.withSsi(
          command,
          async (ssi) => {
            const { json, ...move } = options;
            const reply = await shell.progress(
              `moving ${pid} to node ${to}`,
              ssi.migrate(pid, to, move),
            );
            if (!reply.ok) {
              const ask =
                reply.errno === 'EOPNOTSUPP' ? `; see: ssi why-not ${pid} --to ${to}` : '';
              return shell.fail(command, pid, { ...reply, detail: reply.detail + ask });
            }
            const { from, freezeMs, bytes: moved, traceId } = reply.value;
            if (json)
              shell.json({
                pid: reply.value.pid,
                from,
                to: reply.value.to,
                freezeMs,
                bytes: moved,
                traceId,
              });
            else
              shell.out(
                `${pid}: node ${from} -> ${to}, frozen ${duration(freezeMs)}, ${bytes(moved)}; ssi trace ${traceId}\n`,
              );
            return 0;
          },
          { interrupted: `the move goes on, see: ssi where ${pid}` },
        ),
      ),
    );
};
