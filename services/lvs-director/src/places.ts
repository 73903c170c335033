// A scheduler as a table of places, for a data plane that looks new connections up in one: which server has
// which place, and what a connection's place goes by. What goes by load is right for the moment of `at`.
import type { SchedulerFlag, VirtualService } from '@ssi/contracts';
import type { Random } from '@ssi/ports';
import { type Candidate, takesNew } from './candidate.ts';
import { createScheduler } from './schedulers/by-name.ts';
import { destinationPlaces, sourcePlaces } from './schedulers/hashed.ts';
import { maglevTable } from './schedulers/maglev.ts';
import { commonDivisor } from './schedulers/round-robin.ts';

/** turn: one place after the other; else a hash of the client's address (and port), of the destination's. */
export type GoesBy = 'turn' | 'client' | 'client-port' | 'destination';

export interface Places {
  readonly by: GoesBy;
  /** For each place the index of its server; -1: none may. Empty: there is no server that may. */
  readonly servers: readonly number[];
}

/** wrr: weights that need a longer round are made coarser. */
export const roundMax = 4_096;
/** Connections that are placed ahead by load, until the next look at it. */
export const aheadOf = 256;

const hashed = (flags: readonly SchedulerFlag[]): GoesBy =>
  flags.some((flag) => flag.endsWith('-port')) ? 'client-port' : 'client';

/** Where `falls` (the -fallback flags), the place of a server that may not goes to the next that may. */
function withFallback(list: readonly Candidate[], at: readonly number[], falls: boolean): number[] {
  const may = (index: number | undefined): boolean => {
    const c = list[index ?? -1];
    return c !== undefined && takesNew(c);
  };
  return at.map((index, place) => {
    if (may(index)) return index;
    if (!falls) return -1;
    for (let step = 1; step < at.length; step++) {
      const other = at[(place + step) % at.length];
      if (may(other)) return other as number;
    }
    return -1;
  });
}

/** The next `length` picks, each a connection that stays. */
function ahead(
  service: VirtualService,
  list: readonly Candidate[],
  q: { readonly random: Random; readonly atMs: number; readonly length: number },
): number[] {
  const scheduler = createScheduler(service.scheduler, { flags: service.flags, random: q.random });
  const copies = list.map((c) => ({ ...c }));
  scheduler.changed(copies);
  return Array.from({ length: q.length }, () => {
    const c = scheduler.pick({ client: 0, clientPort: 0, destination: 0, atMs: q.atMs });
    if (!c) return -1;
    c.active++;
    return copies.indexOf(c);
  });
}

/** So light that a whole round has at most `roundMax` places, each at least once. */
function lighter(list: readonly Candidate[]): Candidate[] {
  const weights = list.map((c) => (takesNew(c) ? c.server.weight : 0));
  const sum = weights.reduce((all, weight) => all + weight, 0);
  if (sum / (commonDivisor(weights) || 1) <= roundMax) return [...list];
  const share = (roundMax - list.length) / sum;
  return list.map((c) => {
    const weight = c.server.weight && Math.max(1, Math.floor(c.server.weight * share));
    return { ...c, server: { ...c.server, weight } };
  });
}

export function placesOf(
  service: VirtualService,
  candidates: readonly Candidate[],
  q: { readonly random: Random; readonly atMs: number },
): Places {
  const { scheduler, flags } = service;
  const falls = flags.some((flag) => flag.endsWith('-fallback'));
  const index = (c: Candidate): number => candidates.indexOf(c);
  if (!candidates.some(takesNew)) return { by: 'turn', servers: [] };
  switch (scheduler) {
    case 'sh':
      return {
        by: hashed(flags),
        servers: withFallback(candidates, sourcePlaces(candidates).map(index), falls),
      };
    case 'mh': {
      const table = [...maglevTable(candidates.map((c) => c.server))];
      return { by: hashed(flags), servers: withFallback(candidates, table, falls) };
    }
    case 'dh':
      return {
        by: 'destination',
        servers: withFallback(candidates, destinationPlaces(candidates).map(index), false),
      };
    case 'rr': {
      const may = candidates.filter(takesNew);
      return { by: 'turn', servers: may.map(index) };
    }
    case 'wrr': {
      const list = lighter(candidates);
      const weights = list.map((c) => (takesNew(c) ? c.server.weight : 0));
      const length = weights.reduce((all, w) => all + w, 0) / commonDivisor(weights);
      return { by: 'turn', servers: ahead(service, list, { ...q, length }) };
    }
    default: {
      const next = ahead(service, candidates, { ...q, length: aheadOf });
      return { by: 'turn', servers: next.filter((at) => at !== -1) };
    }
  }
}
