// A real server as schedulers see it: weight and connections, and whether it takes new ones.
// [include/net/ip_vs.h: struct ip_vs_dest; net/netfilter/ipvs/ip_vs_conn.c: ip_vs_bind_dest, ip_vs_unbind_dest]
import type { RealServer } from '@ssi/contracts';

export interface Candidate {
  readonly server: RealServer;
  /** Established connections. */
  active: number;
  /** Those that begin or end, and what has no connections (UDP). */
  inactive: number;
  /** Beyond its upper threshold, and not yet below the lower. */
  overloaded: boolean;
}

export const candidateOf = (server: RealServer): Candidate => ({
  ...{ server, active: 0, inactive: 0, overloaded: false },
});

/** Whether it may get something new. */
export const takesNew = (c: Candidate): boolean => !c.overloaded && c.server.weight > 0;

/** Overloaded from its `upper`th connection on, until there are fewer than `lower`, or than 3/4 of `upper`. */
export function overloadAfter(c: Candidate): boolean {
  const { upper, lower } = c.server;
  const all = c.active + c.inactive;
  if (upper === 0) return false;
  if (all >= upper) return true;
  return c.overloaded && (lower === 0 ? all * 4 >= upper * 3 : all >= lower);
}
