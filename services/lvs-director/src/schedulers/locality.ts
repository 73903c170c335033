// lblc and lblcr: what is for one destination address goes to one server, or to a set that grows while its
// servers are overloaded and shrinks when it was not changed for a day: for caches.
// [net/netfilter/ipvs/ip_vs_lblc.c, ip_vs_lblcr.c]
import { type Candidate, takesNew } from '../candidate.ts';
import { leastFor, overhead, weightedLeast } from './least.ts';
import type { Scheduler } from './scheduler.ts';

/** Destinations kept; beyond that the one asked for least recently goes. [1024 * 16] */
export const destinationsMax = 16_384;
/** Since the last change of a set of several, until one leaves it. [lblcr_expiration] */
export const replicaMs = 24 * 3600 * 1000;

/** More connections than its weight, while another has not half of its own. */
const isFull = (c: Candidate, all: readonly Candidate[]): boolean =>
  c.active > c.server.weight && all.some((other) => other.active * 2 < other.server.weight);

/** Kept by the time of their last use. */
function cache<T>() {
  const kept = new Map<number, T>();
  return {
    used(key: number): T | undefined {
      const value = kept.get(key);
      if (value !== undefined) this.set(key, value);
      return value;
    },
    set(key: number, value: T): void {
      kept.delete(key);
      kept.set(key, value);
      if (kept.size > destinationsMax) kept.delete(kept.keys().next().value as number);
    },
  };
}

export function localityBased(): Scheduler {
  let list: readonly Candidate[] = [];
  const servers = cache<Candidate>();
  return {
    changed(candidates) {
      list = candidates;
    },
    pick({ destination }) {
      const known = servers.used(destination);
      if (known && list.includes(known) && known.server.weight > 0 && !isFull(known, list))
        return known;
      const chosen = weightedLeast(list);
      if (chosen) servers.set(destination, chosen);
      return chosen;
    },
  };
}

/** The one with the largest load for its weight. */
function mostLoaded(candidates: readonly Candidate[]): Candidate | undefined {
  let most: Candidate | undefined;
  for (const c of candidates)
    if (
      c.server.weight > 0 &&
      (!most || overhead(c) * most.server.weight > overhead(most) * c.server.weight)
    )
      most = c;
  return most;
}

export function localityWithReplicas(): Scheduler {
  let list: readonly Candidate[] = [];
  /** Newest member first. */
  const sets = cache<{ members: Candidate[]; changedMs: number }>();
  return {
    changed(candidates) {
      list = candidates;
    },
    pick({ destination, atMs }) {
      const set = sets.used(destination);
      const known =
        set &&
        leastFor(
          set.members.filter((c) => list.includes(c) && takesNew(c)),
          overhead,
        );
      if (set && set.members.length > 1 && atMs - set.changedMs > replicaMs) {
        const most = mostLoaded(set.members);
        set.members = set.members.filter((c) => c !== most);
        set.changedMs = atMs;
      }
      if (known && !isFull(known, list)) return known;
      const chosen = weightedLeast(list);
      if (!chosen) return undefined;
      if (!set) sets.set(destination, { members: [chosen], changedMs: atMs });
      else if (!set.members.includes(chosen)) {
        set.members.unshift(chosen);
        set.changedMs = atMs;
      }
      return chosen;
    },
  };
}
