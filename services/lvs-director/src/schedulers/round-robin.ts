// rr and wrr. Where wrr stands: the server it gave last and the weight it asks for; that weight falls by
// the common divisor at each end of the list. [net/netfilter/ipvs/ip_vs_rr.c, ip_vs_wrr.c]
import { type Candidate, takesNew } from '../candidate.ts';
import type { Scheduler } from './scheduler.ts';

export function roundRobin(): Scheduler {
  let list: readonly Candidate[] = [];
  let at = -1;
  return {
    changed(candidates) {
      // On from the last one; when that has gone, from the one before it.
      while (at >= 0 && !candidates.includes(list[at] as Candidate)) at--;
      at = at < 0 ? -1 : candidates.indexOf(list[at] as Candidate);
      list = candidates;
    },
    pick() {
      for (let step = 1; step <= list.length; step++) {
        const next = (at + step) % list.length;
        const c = list[next];
        if (!c || !takesNew(c)) continue;
        at = next;
        return c;
      }
      return undefined;
    },
  };
}

export const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** Of the weights above 0; 0 if there are none. */
export const commonDivisor = (weights: readonly number[]): number =>
  weights.reduce((g, weight) => gcd(weight, g), 0);

export function weightedRoundRobin(): Scheduler {
  let list: readonly Candidate[] = [];
  let at = -1;
  let [step, highest, wanted] = [1, 0, 0];
  return {
    changed(candidates) {
      const weights = candidates.map((c) => c.server.weight);
      list = candidates;
      at = -1;
      step = commonDivisor(weights) || 1;
      // The last pass asks for 1: also a weight that has just fallen below the divisor has its turn.
      highest = Math.max(0, ...weights) - (step - 1);
      if (wanted === 0 || wanted > highest) wanted = highest;
      else if (step > 1) wanted = Math.floor(wanted / step) * step + 1;
    },
    pick() {
      const reachable = Math.max(0, ...list.filter(takesNew).map((c) => c.server.weight));
      if (reachable === 0) return undefined;
      for (;;) {
        for (at++; at < list.length; at++) {
          const c = list[at];
          if (c && takesNew(c) && c.server.weight >= wanted) return c;
        }
        at = -1;
        wanted -= step;
        if (wanted <= 0) wanted = highest;
        // Passes that nobody can meet are left out.
        if (wanted > reachable) wanted -= Math.ceil((wanted - reachable) / step) * step;
      }
    },
  };
}
