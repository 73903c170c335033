// Sockets of this network namespace, from /proc/net. [proc_pid_net(5): tcp, udp]
import { readFileSync } from 'node:fs';
import type { ClientFlow, Listener } from '@ssi/contracts';
import type { Sockets } from '../ports.ts';

interface Row {
  readonly protocol: 'tcp' | 'udp';
  readonly state: number;
  readonly address: string;
  readonly port: number;
  readonly peer: string;
  readonly peerPort: number;
}

/** [linux: include/net/tcp_states.h]; UDP that is bound has the number of `closed`. */
const state = { established: 1, synReceived: 3, closed: 7, closeWait: 8, listening: 10 } as const;
/** A side has not said its last yet: packets for it still come. */
const alive: readonly number[] = [
  ...[state.established, state.synReceived, 4, 5, state.closeWait, 9, 11],
];

export function rowsOf(text: string, protocol: Row['protocol']): Row[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, local, remote, st] = line.trim().split(/\s+/);
      if (!local || !remote || !st) return [];
      const [[address, port], [peer, peerPort]] = [endOf(local), endOf(remote)];
      return [{ protocol, state: Number.parseInt(st, 16), address, port, peer, peerPort }];
    });
}

/** `0100007F:1F90` is 127.0.0.1:8080, words of 32 bits in host order; of IPv6 what stands for IPv4, or `::`, else ''. */
function endOf(text: string): [address: string, port: number] {
  const [host = '', port = '0'] = text.split(':');
  const bytes = [...host.matchAll(/.{8}/g)].flatMap(([word]) =>
    [...Buffer.from(word, 'hex')].reverse(),
  );
  const four = bytes.slice(-4).join('.');
  const before = bytes.slice(0, -4).join();
  const isFour = before === '' || before === '0,0,0,0,0,0,0,0,0,0,255,255';
  const any = bytes.every((byte) => byte === 0);
  return [any ? '0.0.0.0' : isFour ? four : '', Number.parseInt(port, 16)];
}

export function listenersOf(rows: readonly Row[], shared: readonly string[]): Listener[] {
  const found = new Map<string, Listener>();
  for (const { protocol, state: st, address, port, peerPort } of rows)
    if (
      st === (protocol === 'tcp' ? state.listening : state.closed) &&
      peerPort === 0 &&
      (address === '0.0.0.0' || shared.includes(address))
    )
      found.set(`${protocol} ${port}`, { protocol, port });
  return [...found.values()].sort((a, b) =>
    a.protocol === b.protocol ? a.port - b.port : a.protocol < b.protocol ? -1 : 1,
  );
}

export const flowsOf = (rows: readonly Row[], addresses: readonly string[]): ClientFlow[] =>
  rows.flatMap((r) =>
    r.protocol === 'tcp' && alive.includes(r.state) && addresses.includes(r.address) && r.peer
      ? [
          {
            ...{ protocol: r.protocol, client: r.peer, clientPort: r.peerPort },
            ...{ address: r.address, port: r.port },
          },
        ]
      : [],
  );

export function linuxSockets(): Sockets {
  const read = (protocol: Row['protocol']): Row[] =>
    [protocol, `${protocol}6`].flatMap((name) => {
      try {
        return rowsOf(readFileSync(`/proc/net/${name}`, 'latin1'), protocol);
      } catch {
        return []; // No IPv6 here.
      }
    });
  return {
    listeners: (shared) => listenersOf([...read('tcp'), ...read('udp')], shared),
    flows: (addresses) => flowsOf(read('tcp'), addresses),
  };
}
