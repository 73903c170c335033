// A node from inside, for faults that only it sees: a shell in its mount, pid and network namespaces.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { TestCluster } from './cluster.ts';

/** Runs a shell line in node `num` and gives what it printed; throws when it fails. */
export function insideNode(cluster: TestCluster, num: number, line: string): string {
  const entry = cluster.file().nodes.find((n) => n.num === num);
  if (!entry) throw new Error(`no node ${num}`);
  return execFileSync(
    'nsenter',
    ['-t', String(entry.pid), '-m', '-p', '-n', '-i', '-u', '/bin/sh', '-c', line],
    { encoding: 'utf8' },
  );
}

const nft = fileURLToPath(new URL('../../.tools/bin/nft', import.meta.url));

/** A command of nft(8) in the network of node `num`. */
export function nftInside(cluster: TestCluster, num: number, command: string): void {
  const entry = cluster.file().nodes.find((n) => n.num === num);
  if (!entry) throw new Error(`no node ${num}`);
  execFileSync('nsenter', ['-t', String(entry.pid), '-n', nft, command]);
}
