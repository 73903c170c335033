// ssi up: a cluster on this machine, each node in namespaces of its own, on a bus of its own.

import { isIPv4 } from 'node:net';
import type { ClusterFile } from '@ssi/client';
import { fail } from '@ssi/contracts';
import { InvalidArgumentError, Option } from 'commander';
import type { Define } from '../command-table.ts';
import { exitCode } from '../status.ts';
import { bringUp, nodesMax } from '../up/bring-up.ts';
import { down } from '../up/cluster.ts';

interface Options {
  readonly nodes: number;
  readonly detach?: boolean;
  readonly embedded?: boolean;
  readonly nats?: string;
  readonly listen?: string;
  readonly cfs?: string | true;
  readonly pidBits: 14 | 16;
  readonly json?: boolean;
  readonly cluster?: string;
}

function nodesArgument(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1 || count > nodesMax)
    throw new InvalidArgumentError(`A cluster on one machine has 1 to ${nodesMax} nodes.`);
  return count;
}

function addressArgument(text: string): string {
  if (isIPv4(text)) return text;
  throw new InvalidArgumentError('An IPv4 address of this machine, as 10.0.0.1.');
}

function folderArgument(text: string): string {
  if (text.startsWith('/')) return text;
  throw new InvalidArgumentError('An absolute path, as /srv/tree.');
}

function pidBitsArgument(text: string): 14 | 16 {
  if (text === '14') return 14;
  if (text === '16') return 16;
  throw new InvalidArgumentError('16 (63 nodes of 65,536 pids) or 14 (255 nodes of 16,384).');
}

const row = (n: ClusterFile['nodes'][number]) => ({ num: n.num, name: n.name, address: n.address });

export const define: Define = (command, shell) => {
  command
    .option('-n, --nodes <count>', 'how many nodes', nodesArgument, 3)
    .option('-d, --detach', 'return when all nodes are UP, and leave the cluster running')
    .option(
      '--listen <address>',
      'of this machine, for the bus: by TLS, so that other machines can join',
      addressArgument,
    )
    .option('--nats <url>', 'use this bus instead of starting one')
    .addOption(
      new Option('--embedded', 'all nodes in one process: actors only, needs nothing').conflicts([
        'listen',
        'nats',
        'pidBits',
      ]),
    )
    .option(
      '--cfs [folder]',
      'mount a file system of the cluster at /cluster on each node; its files are in this folder (absent: until ssi down)',
      folderArgument,
    )
    .option('--pid-bits <bits>', 'size of the pid range of a node', pidBitsArgument, 16)
    .option('--json', 'as JSON: {cluster,mode,nodes:[{num,name,address}]}')
    .addHelpText(
      'after',
      `
Without --detach the cluster stays until Ctrl-C. Without root its nodes are plain processes: actors run and
move, native programs do not.

Examples:
  ssi up --nodes 3 --detach
  ssi --cluster test up --nodes 5 --detach
  ssi up --embedded --detach`,
    )
    .action(
      shell.act(async () => {
        const options = command.optsWithGlobals<Options>();
        const name = options.cluster ?? shell.io.env.SSI_CLUSTER ?? 'default';
        if (!/^[A-Za-z0-9_-]{1,32}$/.test(name))
          return shell.usage(
            command,
            `a cluster's name has letters, digits, - and _, not "${name}"`,
          );
        const started = await bringUp({
          name,
          nodes: options.nodes,
          pidBits: options.pidBits,
          embedded: options.embedded ?? shell.io.env.SSI_EMBEDDED === '1',
          nats: options.nats,
          listen: options.listen,
          cfs: options.cfs === true ? '' : options.cfs,
          signal: shell.interrupted,
          onProgress: (text) => shell.note(`up: ${text}`),
        });
        if (shell.interrupted.aborted) {
          shell.note(`up: interrupted; cluster "${name}" is gone again`);
          return exitCode.interrupted;
        }
        if (!started.ok) return shell.fail(command, name, started);
        const cluster = started.value;
        if (cluster.mode === 'embedded')
          shell.note(
            'up: all nodes are in one process: actors run and move, native programs do not',
          );
        else if (cluster.mode !== 'native')
          shell.note('up: no root here: actors run and move, native programs do not (ssi doctor)');
        if (options.json)
          shell.json({ cluster: name, mode: cluster.mode, nodes: cluster.nodes.map(row) });
        else
          shell.out(
            `cluster "${name}": ${cluster.nodes.length} nodes UP; next: ssi nodes${cluster.mode === 'native' ? ', ssi run --node 1 -- CMD' : ''}\n`,
          );
        if (options.detach) return exitCode.ok;
        shell.note('up: Ctrl-C takes the cluster down');
        await shell.untilInterrupted();
        const gone = await down(name);
        return gone.ok ? exitCode.ok : shell.fail(command, name, fail(gone.errno, gone.detail));
      }),
    );
};
