// The origin of a pid: a pure function of the view, so everyone who has the view agrees and nobody asks.
// Clients and services compute it here. [OpenSSI vproc: origin node, surrogate origin]
import { rendezvous } from './rendezvous.ts';
import { findMember, upMembers, type View } from './service.ts';

/**
 * Origin of range `range`: node `range` if it is UP, else its surrogate among the UP members
 * (rendezvous hash). undefined: no node is UP, or the number is from no node's range (0).
 */
export function originOfRange(view: View, range: number): number | undefined {
  if (range < 1) return undefined;
  if (findMember(view, range)?.state === 'UP') return range;
  return rendezvous(
    `origin:${range}`,
    upMembers(view).map((m) => m.num),
  );
}

/** Origin of a pid in a view; undefined as for `originOfRange`. */
export const originOf = (view: View, pid: number): number | undefined =>
  originOfRange(view, rangeOf(pid, view.pidBits));

/** Where the ranges lie: node k hands out k*2^bits .. (k+1)*2^bits-1. */
export const pidRange = (num: number, pidBits: 14 | 16): { low: number; high: number } => ({
  low: num * 2 ** pidBits,
  high: (num + 1) * 2 ** pidBits - 1,
});

/** The node whose range a pid is from; 0: outside every node's range (EPIDRANGE). */
export const rangeOf = (p: number, pidBits: 14 | 16): number => Math.floor(p / 2 ** pidBits);
