// A machine that is none of the cluster's nodes: a network namespace of its own on the cluster's bridge.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import type { TestCluster } from './cluster.ts';

export interface Outsider {
  readonly address: string;
  /** Address of this network by its last octet. */
  other(last: number): string;
  /** Starts a program there. */
  spawn(argv: readonly string[]): ChildProcess;
  stop(): void;
}

function ip(...args: string[]): void {
  const done = spawnSync('ip', args, { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`ip ${args.join(' ')}: ${done.stderr}`);
}

export function startOutsider(cluster: TestCluster, last = 200): Outsider {
  const { network } = cluster.file();
  if (!network) throw new Error('the cluster has no network of its own');
  const name = `out${network.bridge.slice(3)}`;
  const device = `o${network.bridge.slice(3)}`;
  const other = (octet: number): string => `${network.prefix}.${octet}`;
  ip('netns', 'add', name);
  ip('link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
  ip('link', 'set', device, 'master', network.bridge, 'up');
  ip('-n', name, 'addr', 'add', `${other(last)}/24`, 'dev', 'eth0');
  ip('-n', name, 'link', 'set', 'eth0', 'up');
  return {
    address: other(last),
    other,
    spawn: (argv) => spawn('ip', ['netns', 'exec', name, ...argv], { stdio: 'pipe' }),
    stop: () => ip('netns', 'del', name),
  };
}
