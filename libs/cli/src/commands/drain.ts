// ssi drain: moves everything off a node, so that it can be taken down with nothing lost.
import { nodeArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { drainNode } from '../drain-node.ts';
import { duration, table } from '../output.ts';
import { exitCode } from '../status.ts';

interface Options {
  readonly to?: number;
  readonly shutdown?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, shell) => {
  command
    .argument('<node>', 'node to empty', nodeArgument)
    .option('--to <node>', 'everything to that node (default: spread by load)', nodeArgument)
    .option('--shutdown', 'then take the node down in good order, if nothing stayed')
    .option(
      '--json',
      'as JSON: {moved:[{pid,to,freezeMs}],stayed:[{pid,command,errno,detail}],keyServices:[{name,to}]}',
    )
    .addHelpText(
      'after',
      '\nEnds with 1 when something stayed, and says why.\n\nExamples:\n  ssi drain 3\n  ssi drain 3 --shutdown',
    )
    .action(
      shell.act((node: number, options: Options) =>
        shell.withSsi(
          command,
          async (ssi) => {
            const reply = await drainNode(ssi, node, {
              ...(options.to !== undefined && { to: options.to }),
              signal: shell.interrupted,
              onMoved: (m) => {
                if (!options.json)
                  shell.out(`${m.pid}: node ${node} -> ${m.to}, frozen ${duration(m.freezeMs)}\n`);
              },
            });
            if (!reply.ok) return shell.fail(command, `node ${node}`, reply);
            const { moved, stayed, keyServices } = reply.value;
            const here = keyServices.filter((k) => k.to === undefined);
            if (options.json) shell.json({ moved, stayed, keyServices });
            else if (stayed.length > 0)
              shell.out(
                table(
                  [
                    { title: 'STAYED', of: (s) => s.pid, align: 'right' },
                    { title: 'COMMAND', of: (s) => s.command.slice(0, 40) },
                    { title: 'WHY', of: (s) => `${s.errno} ${s.detail}` },
                  ],
                  stayed,
                  { paint: shell.paint },
                ),
              );
            else shell.out(`node ${node}: nothing left, ${moved.length} moved\n`);
            if (!options.json)
              for (const k of keyServices)
                shell.out(
                  `key service ${k.name}: ${k.to ? `on node ${k.to} now` : `stayed, ${k.errno} ${k.detail}`}\n`,
                );
            if (stayed.length + here.length > 0) return exitCode.failed;
            if (!options.shutdown) return exitCode.ok;
            const down = await shell.progress(`shutting node ${node} down`, ssi.shutdownNode(node));
            if (!down.ok) return shell.fail(command, `node ${node}`, down);
            return exitCode.ok;
          },
          { interrupted: `what has moved stays where it is; what did not is on node ${node}` },
        ),
      ),
    );
};
