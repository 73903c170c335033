// Opens a TCP connection and closes it again: the time that takes is one round trip of the interconnect.
import { createConnection } from 'node:net';
import type { Clock } from '@ssi/ports';
import type { Prober } from '../ports.ts';

export function tcpProber(clock: Clock): Prober {
  return {
    connectMs: (host, port, timeoutMs) =>
      new Promise((resolve) => {
        const startMs = clock.nowMs();
        const socket = createConnection({ host, port });
        const end = (result: number | undefined): void => {
          timer.cancel();
          socket.destroy();
          resolve(result);
        };
        const timer = clock.after(timeoutMs, () => end(undefined));
        socket.on('connect', () => end(clock.nowMs() - startMs));
        socket.on('error', () => end(undefined));
      }),
  };
}
