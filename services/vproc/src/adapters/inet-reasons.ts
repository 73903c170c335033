// Which sockets of TCP and UDP hinder a move. What is bound to nothing, to loopback or to the tree's floating
// address goes along; a connection over loopback too, if both its ends are in the tree. One to the cluster's own bus is
// let go: it is found closed at the target, and its client makes another.
import type { MoveReason } from '@ssi/contracts';
import type { Descriptor } from './descriptors.ts';
import { connectedTcp, type TcpSocket, tcpSockets, udpSockets } from './proc-tables.ts';

const isEverywhere = (address: string): boolean =>
  /^127\.|^0\.0\.0\.0$|^\[(0000:){7}000[01]\]$/.test(address);

/** `bus`: where it is reached, ADDRESS:PORT. */
export function inetReasons(
  tree: readonly number[],
  descriptors: ReadonlyMap<number, readonly Descriptor[]>,
  q: { readonly addr?: string | undefined; readonly bus: readonly string[] },
): { readonly reasons: MoveReason[]; readonly tcpEstablished: boolean } {
  const { addr, bus } = q;
  const holder = new Map<number, number>();
  for (const pid of tree)
    for (const { link } of descriptors.get(pid) ?? []) {
      const inode = Number(/^socket:\[(\d+)\]$/.exec(link)?.[1] ?? 0);
      if (inode > 0 && !holder.has(inode)) holder.set(inode, pid);
    }
  const [first] = tree;
  if (holder.size === 0 || first === undefined) return { reasons: [], tcpEstablished: false };
  const ours = (all: readonly TcpSocket[]): TcpSocket[] => all.filter((s) => holder.has(s.inode));
  const connected = ours(connectedTcp(first));
  const toBus = (s: TcpSocket): boolean => bus.includes(s.remote);
  const ends = new Set(connected.map((s) => `${s.local} ${s.remote}`));
  const moves = (s: TcpSocket): boolean =>
    s.address === addr || (isEverywhere(s.address) && ends.has(`${s.remote} ${s.local}`));
  const known = new Set(connected.map((s) => s.inode));
  const bound = ours([...tcpSockets(first), ...udpSockets(first)]).filter(
    (s) => !known.has(s.inode) && s.address !== addr && !isEverywhere(s.address),
  );
  const reason = (s: TcpSocket, detail: string): MoveReason => ({
    ...{ code: 'ETCPADDR', detail },
    pid: holder.get(s.inode) ?? first,
  });
  const tcpEstablished = connected.some(moves);
  return {
    reasons: [
      ...connected
        // All are let go or none is. [criu(8): --tcp-close]
        .filter((s) => !moves(s) && (tcpEstablished || !toBus(s)))
        .map((s) => reason(s, `is connected by TCP from ${s.local} to ${s.remote}`)),
      ...bound.map((s) => reason(s, `has a socket bound to ${s.local}, which stays here`)),
    ],
    tcpEstablished,
  };
}
