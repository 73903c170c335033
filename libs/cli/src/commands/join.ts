// ssi join TOKEN: makes this machine a node of a cluster that runs elsewhere.
import { nodeArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { exitCode } from '../status.ts';
import { down } from '../up/cluster.ts';
import { join } from '../up/join.ts';

interface Options {
  readonly num?: number;
  readonly address?: string;
  readonly detach?: boolean;
}

export const define: Define = (command, shell) => {
  command
    .argument('<token>', 'from "ssi node token", where the cluster runs')
    .option('--num <node>', 'node number (default: the lowest free one)', nodeArgument)
    .option('--address <ip>', 'address at which the other nodes reach this machine')
    .option('-d, --detach', 'return when the node is UP, and leave it running')
    .addHelpText(
      'after',
      `
The bus must be reachable from here: start the cluster with "ssi up --listen ADDRESS" for that. Without --detach
the node stays until Ctrl-C, and then leaves in good order. "ssi down" on this machine ends a detached one.

Examples:
  ssi join ssi1.eyJjb...
  ssi join --num 7 --address 10.0.0.7 --detach ssi1.eyJjb...`,
    )
    .action(
      shell.act(async (token: string, options: Options) => {
        const joined = await join({
          token,
          num: options.num,
          address: options.address,
          signal: shell.interrupted,
          onProgress: (text) => shell.note(`join: ${text}`),
        });
        if (!joined.ok)
          return joined.errno === 'EINTR'
            ? exitCode.interrupted
            : shell.fail(command, undefined, joined);
        const { name, nodes } = joined.value;
        shell.out(`node ${nodes[0]?.num} of cluster "${name}" is UP\n`);
        if (options.detach) return exitCode.ok;
        shell.note('join: Ctrl-C leaves the cluster');
        await shell.untilInterrupted();
        const gone = await down(name);
        return gone.ok ? exitCode.ok : shell.fail(command, name, gone);
      }),
    );
};
