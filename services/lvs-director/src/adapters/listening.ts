// What the user-space data plane's listeners have in common: what they count, and why they cannot listen.
import { fail, type Reply } from '@ssi/contracts';
import { serverText } from '@ssi/lvs';
import type { Flows, HeldFlow } from '../flows.ts';
import type { Traffic } from '../ports.ts';

/** What one service carries. */
export interface Carried {
  readonly flows: Flows;
  /** By `serverText`. */
  readonly traffic: Map<string, Counted>;
}
/** Of a TCP connection a packet is what one look at its socket brought. */
export type Counted = { -readonly [K in keyof Traffic]: Traffic[K] };

export const nothing = (): Counted => ({
  ...{ connections: 0, inPackets: 0, inBytes: 0, outPackets: 0, outBytes: 0 },
});

export function countedOf(traffic: Map<string, Counted>, { server }: HeldFlow): Counted {
  const name = serverText(server);
  const known = traffic.get(name) ?? nothing();
  traffic.set(name, known);
  return known;
}

/** EBUSY: somebody else listens there. */
export function faultOf(error: Error, at: string): Reply<never, 'EBUSY' | 'EIO'> {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return fail('EBUSY', `${at}: another program listens there`);
  if (code === 'EADDRNOTAVAIL') return fail('EIO', `${at} is no address of this machine`);
  if (code === 'EACCES') return fail('EIO', `${at}: ports below 1024 need CAP_NET_BIND_SERVICE`);
  return fail('EIO', `${at}: ${error.message}`);
}
