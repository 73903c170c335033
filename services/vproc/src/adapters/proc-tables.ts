// Tables that /proc (and, for the peers of unix sockets, sock_diag by way of ss) keeps about more than
// one process. [proc(5), ss(8)]
import { readdirSync, readFileSync } from 'node:fs';
import { runProgram } from './spawn.linux.ts';

/** Every process of the node, ascending. */
export const allPids = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);

/** A field of /proc/PID/status; undefined: no such process or field. */
export const statusField = (pid: number, name: string): string | undefined =>
  new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(readOr(`/proc/${pid}/status`))?.[1];

/** File system types of the mounts a process sees, by mount id and by `major:minor`. */
export function mountTypes(pid: number): {
  readonly byId: ReadonlyMap<number, string>;
  readonly byDevice: ReadonlyMap<string, string>;
} {
  const byId = new Map<number, string>();
  const byDevice = new Map<string, string>();
  for (const line of readOr(`/proc/${pid}/mountinfo`).split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const [id, , device = ''] = left.split(' ');
    const type = right.split(' ')[0] ?? '';
    if (!type) continue;
    byId.set(Number(id), type);
    byDevice.set(device, type);
  }
  // Objects without a path (pipes, sockets, memfd) are on mounts that no mountinfo lists.
  return { byId, byDevice };
}

const listening = 0x0a;
const unconnected = 0x07;

/** TCP sockets of the process's network that have a peer. [proc_pid_net(5): tcp] */
export function establishedTcp(pid: number): { inode: number; remote: string }[] {
  return ['tcp', 'tcp6'].flatMap((name) =>
    readOr(`/proc/${pid}/net/${name}`)
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const field = line.trim().split(/\s+/);
        const state = Number.parseInt(field[3] ?? '', 16);
        const inode = Number(field[9]);
        if (!inode || state === listening || state === unconnected) return [];
        return [{ inode, remote: address(field[2] ?? '') }];
      }),
  );
}

/** `0100007F:1F90` is 127.0.0.1:8080: words of 32 bits in host order. */
function address(text: string): string {
  const [host = '', port = '0'] = text.split(':');
  const bytes = [...host.matchAll(/.{8}/g)].flatMap(([word]) =>
    [...Buffer.from(word, 'hex')].reverse(),
  );
  const name =
    bytes.length === 4
      ? bytes.join('.')
      : `[${[...Buffer.from(bytes).toString('hex').matchAll(/.{4}/g)].join(':')}]`;
  return `${name}:${Number.parseInt(port, 16)}`;
}

/** Inode of each connected unix socket of this network namespace -> its peer's. Empty without ss. */
export async function unixPeers(): Promise<ReadonlyMap<number, number>> {
  const result = await runProgram('ss', ['-xaHn'], { timeoutMs: 5_000 });
  const peers = new Map<number, number>();
  for (const line of result.out.split('\n')) {
    // Netid State Recv-Q Send-Q Local-Address Local-Port Peer-Address Peer-Port: the ports are inodes
    const field = line.trim().split(/\s+/);
    const inode = Number(field.at(-3));
    const peer = Number(field.at(-1));
    if (inode > 0 && peer > 0) peers.set(inode, peer);
  }
  return peers;
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
