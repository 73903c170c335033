// Schedulers by load: lc, wlc, sed, nq; and by weight alone: fo, ovf. Of equals the first in the list.
// Products are exact up to 2^53. [net/netfilter/ipvs/ip_vs_{lc,wlc,sed,nq,fo,ovf}.c]
import { type Candidate, takesNew } from '../candidate.ts';

/** An established connection weighs as much as 256 others. [ip_vs_dest_conn_overhead] */
export const overhead = (c: Candidate): number => c.active * 256 + c.inactive;

/** The one with the smallest cost for its weight. a/wa < b/wb is a*wb < b*wa. */
export function leastFor(
  candidates: readonly Candidate[],
  cost: (c: Candidate) => number,
): Candidate | undefined {
  let least: Candidate | undefined;
  for (const c of candidates)
    if (takesNew(c) && (!least || cost(c) * least.server.weight < cost(least) * c.server.weight))
      least = c;
  return least;
}

/** Least connection: the weight says only whether it may. */
export function leastConnection(candidates: readonly Candidate[]): Candidate | undefined {
  let least: Candidate | undefined;
  for (const c of candidates)
    if (takesNew(c) && (!least || overhead(c) < overhead(least))) least = c;
  return least;
}

/** Weighted least connection. */
export const weightedLeast = (candidates: readonly Candidate[]): Candidate | undefined =>
  leastFor(candidates, overhead);

/** Shortest expected delay: (C + 1) / U. */
export const shortestDelay = (candidates: readonly Candidate[]): Candidate | undefined =>
  leastFor(candidates, (c) => c.active + 1);

/** Never queue: the first idle one, else the shortest expected delay. */
export const neverQueue = (candidates: readonly Candidate[]): Candidate | undefined =>
  candidates.find((c) => takesNew(c) && c.active === 0) ?? shortestDelay(candidates);

function heaviest(
  candidates: readonly Candidate[],
  may: (c: Candidate) => boolean,
): Candidate | undefined {
  let found: Candidate | undefined;
  for (const c of candidates)
    if (takesNew(c) && may(c) && (!found || c.server.weight > found.server.weight)) found = c;
  return found;
}

/** Weighted failover: the heaviest that may. */
export const failover = (candidates: readonly Candidate[]): Candidate | undefined =>
  heaviest(candidates, () => true);

/** Weighted overflow: the heaviest whose connections are not more than its weight. */
export const overflow = (candidates: readonly Candidate[]): Candidate | undefined =>
  heaviest(candidates, (c) => c.active <= c.server.weight);
