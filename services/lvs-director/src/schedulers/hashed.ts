// sh and dh: 256 places, filled with the servers in turn; the address says which place.
// [net/netfilter/ipvs/ip_vs_sh.c, ip_vs_dh.c]
import { type Candidate, takesNew } from '../candidate.ts';
import type { Flow, Scheduler, SchedulerOptions } from './scheduler.ts';

export const hashPlaces = 256;

/** Knuth's multiplicative hash, of which the low 8 bits count. */
const place = (value: number, offset = 0): number =>
  (Math.imul(value >>> 0, 2_654_435_761) + offset) & (hashPlaces - 1);

/** sh: so many places in a row as the weight says, at least one, also for those that take nothing new. */
export function sourcePlaces(candidates: readonly Candidate[]): Candidate[] {
  if (candidates.length === 0) return [];
  const places: Candidate[] = [];
  for (let turn = 0; places.length < hashPlaces; turn++) {
    const c = candidates[turn % candidates.length] as Candidate;
    for (let n = Math.max(1, c.server.weight); n > 0 && places.length < hashPlaces; n--)
      places.push(c);
  }
  return places;
}

/** dh: one after the other, whatever their weights. */
export const destinationPlaces = (candidates: readonly Candidate[]): Candidate[] =>
  candidates.length === 0
    ? []
    : Array.from(
        { length: hashPlaces },
        (_, at) => candidates[at % candidates.length] as Candidate,
      );

const ifItMay = (c: Candidate | undefined): Candidate | undefined =>
  c && takesNew(c) ? c : undefined;

export function sourceHash({ flags }: SchedulerOptions): Scheduler {
  let places: Candidate[] = [];
  const key = (flow: Flow): number =>
    flow.client + (flags.includes('sh-port') ? flow.clientPort : 0);
  return {
    changed(candidates) {
      places = sourcePlaces(candidates);
    },
    pick(flow) {
      const first = place(key(flow));
      const found = ifItMay(places[first]);
      if (found || !flags.includes('sh-fallback')) return found;
      for (let offset = 0; offset < hashPlaces; offset++) {
        const other = ifItMay(places[place(key(flow), (first + offset) % hashPlaces)]);
        if (other) return other;
      }
      return undefined;
    },
  };
}

export function destinationHash(): Scheduler {
  let places: Candidate[] = [];
  return {
    changed(candidates) {
      places = destinationPlaces(candidates);
    },
    pick: (flow) => ifItMay(places[place(flow.destination)]),
  };
}
