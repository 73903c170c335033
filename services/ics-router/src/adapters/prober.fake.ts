// A prober whose answers the test sets: host -> ms, or undefined for an interconnect that is cut.
import type { Prober } from '../ports.ts';

export function fakeProber(rtt: Map<string, number | undefined>): Prober {
  return { connectMs: (host) => Promise.resolve(rtt.get(host)) };
}
