// Numbers of this node's range that must not be handed out here because someone elsewhere uses them:
// an emigrant's pid, its threads, and the groups and sessions it left behind in the numbers it took.
// [pids are unique in the cluster; the guard keeps a placeholder for each]
import type { OriginEntry } from '@ssi/contracts';
import { numbersOf } from './move-set.ts';
import { inRange } from './pid.ts';

export interface Holding {
  /** Numbers to take a placeholder for, ascending. */
  readonly hold: number[];
  /** Placeholders that nobody needs any more, ascending. */
  readonly release: number[];
}

/**
 * Numbers of `node`'s range that live processes elsewhere use, ascending. `local` are numbers in use on
 * the node itself: the real user is its own placeholder.
 */
export function heldNumbers(
  entries: Iterable<OriginEntry>,
  q: { node: number; pidBits: 14 | 16; local: ReadonlySet<number> },
): number[] {
  const away = [...entries].filter((e) => e.node !== q.node && e.phase !== 'exited');
  return numbersOf(away).filter((n) => inRange(q.node, n, q.pidBits) && !q.local.has(n));
}

/** What to do to come from the placeholders there are to the numbers wanted. */
export function holding(held: ReadonlySet<number>, wanted: readonly number[]): Holding {
  const want = new Set(wanted);
  return {
    hold: wanted.filter((n) => !held.has(n)),
    release: [...held].filter((n) => !want.has(n)).sort((a, b) => a - b),
  };
}
