// Tables that /proc (and, for the peers of unix sockets, sock_diag by way of ss) keeps about more than
// one process. [proc(5), ss(8)]
import { readdirSync, readFileSync } from 'node:fs';
import { semaphoreUser } from '@ssi/linux';
import { runProgram } from './run-program.ts';

/** Every process of the node, ascending. */
export const allPids = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);

/** A field of /proc/PID/status; undefined: no such process or field. */
export const statusField = (pid: number, name: string): string | undefined =>
  new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(readOr(`/proc/${pid}/status`))?.[1];

/** Type of a mount of the cluster file system, in mountinfo. */
export const cfsType = 'fuse.cfs';

/** Where this node has the cluster file system. Nothing in it may be looked at in passing: that waits for its server. */
export const cfsMounts = (): string[] =>
  readOr('/proc/self/mountinfo')
    .split('\n')
    .filter((line) => line.includes(` - ${cfsType} `))
    .map((line) => line.split(' ')[4] ?? '');

/** File system types of the mounts a process sees, by mount id and by `major:minor`. */
export interface MountTypes {
  readonly byId: ReadonlyMap<number, string>;
  readonly byDevice: ReadonlyMap<string, string>;
}

export function mountTypes(pid: number): MountTypes {
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

/** States of a TCP socket that are asked about. [linux: include/net/tcp_states.h] */
export const tcpState = {
  finWait1: 0x04,
  synReceived: 0x03,
  unconnected: 0x07,
  lastAck: 0x09,
  listening: 0x0a,
  closing: 0x0b,
} as const;

export interface TcpSocket {
  /** 0: no descriptor leads to it any more. */
  readonly inode: number;
  readonly state: number;
  /** Address alone; one of IPv4 that an IPv6 socket uses is written as IPv4. */
  readonly address: string;
  /** `ADDRESS:PORT` */
  readonly local: string;
  readonly remote: string;
  /** Bytes unread; of a listening socket: connections that wait to be accepted. */
  readonly waiting: number;
}

/** TCP sockets of the process's network. [proc_pid_net(5): tcp] */
export const tcpSockets = (pid: number | 'self'): TcpSocket[] => inetSockets(pid, ['tcp', 'tcp6']);
/** UDP likewise; `unconnected` is the state of most. */
export const udpSockets = (pid: number | 'self'): TcpSocket[] => inetSockets(pid, ['udp', 'udp6']);

function inetSockets(pid: number | 'self', tables: readonly string[]): TcpSocket[] {
  return tables.flatMap((name) =>
    readOr(`/proc/${pid}/net/${name}`)
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const field = line.trim().split(/\s+/);
        if (field.length < 10) return [];
        const local = address(field[1] ?? '');
        return [
          {
            inode: Number(field[9]),
            state: Number.parseInt(field[3] ?? '', 16),
            address: local.slice(0, local.lastIndexOf(':')),
            local,
            remote: address(field[2] ?? ''),
            waiting: Number.parseInt((field[4] ?? '').split(':')[1] ?? '0', 16),
          },
        ];
      }),
  );
}

/** Those of them that have a peer and a descriptor. */
export const connectedTcp = (pid: number | 'self'): TcpSocket[] =>
  tcpSockets(pid).filter(
    ({ inode, state }) =>
      inode > 0 && state !== tcpState.listening && state !== tcpState.unconnected,
  );

/** `0100007F:1F90` is 127.0.0.1:8080: words of 32 bits in host order. */
function address(text: string): string {
  const [host = '', port = '0'] = text.split(':');
  const bytes = [...host.matchAll(/.{8}/g)].flatMap(([word]) =>
    [...Buffer.from(word, 'hex')].reverse(),
  );
  const mapped = bytes.length === 16 && bytes.slice(0, 12).join() === '0,0,0,0,0,0,0,0,0,0,255,255';
  const name =
    bytes.length === 4 || mapped
      ? bytes.slice(-4).join('.')
      : `[${[...Buffer.from(bytes).toString('hex').matchAll(/.{4}/g)].join(':')}]`;
  return `${name}:${Number.parseInt(port, 16)}`;
}

/** Objects of System V IPC in this namespace with the processes that are known to use them. [proc_sysvipc(5)] */
export function systemVUsers(): { readonly kind: string; readonly id: number; pids: number[] }[] {
  const rows = (kind: string): number[][] =>
    readOr(`/proc/sysvipc/${kind}`)
      .split('\n')
      .slice(1, -1)
      .map((line) => line.trim().split(/\s+/).map(Number));
  const found = (kind: string, columns: readonly number[]) =>
    rows(kind).map((row) => ({ kind, id: row[1] ?? 0, pids: columns.map((i) => row[i] ?? 0) }));
  const sets = rows('sem').map((row) => ({
    ...{ kind: 'semaphores', id: row[1] ?? 0 },
    pids: Array.from({ length: row[3] ?? 0 }, (_, i) => semaphoreUser(row[1] ?? 0, i)),
  }));
  // cpid, lpid of memory; lspid, lrpid of queues.
  return [...sets, ...found('shm', [4, 5]), ...found('msg', [5, 6])];
}

/** Inode of each connected unix socket of this network namespace -> its peer's. Empty without ss: criu refuses then. */
export async function unixPeers(): Promise<ReadonlyMap<number, number>> {
  const result = await runProgram('ss', ['-xaHn'], { timeoutMs: 5_000, outputMax: 1 << 26 });
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
