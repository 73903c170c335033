// One queue of a resource: locks in order, linked through themselves, with counts by mode, so that whether
// a lock conflicts with a queue, and whether it may go, costs the same with one lock as with 100,000.
import type { LockMode } from '@ssi/contracts';
import { flag } from './flags.ts';
import { conflicts, rank } from './modes.ts';
import type { Lock } from './resource.ts';

export interface Queue<L extends Lock = Lock> {
  head: L | undefined;
  tail: L | undefined;
  size: number;
  /** How many locks here hold each mode, and how many want it, by rank. */
  readonly held: number[];
  readonly wanted: number[];
  /** How many have NOORDER. */
  noOrder: number;
}

export const emptyQueue = <L extends Lock>(): Queue<L> => ({
  head: undefined,
  tail: undefined,
  size: 0,
  held: [0, 0, 0, 0, 0, 0],
  wanted: [0, 0, 0, 0, 0, 0],
  noOrder: 0,
});

function count(queue: Queue, lock: Lock, by: 1 | -1): void {
  queue.size += by;
  if (lock.granted !== undefined) bump(queue.held, lock.granted, by);
  if (lock.requested !== undefined) bump(queue.wanted, lock.requested, by);
  if (lock.flags & flag.NOORDER) queue.noOrder += by;
}

function bump(counts: number[], mode: LockMode, by: number): void {
  const at = rank[mode];
  counts[at] = (counts[at] ?? 0) + by;
}

/** Appends, or with `first` puts at the head. Modes and flags must not change while a lock is queued. */
export function enqueue<L extends Lock>(queue: Queue<L>, lock: L, first = false): void {
  const before = first ? undefined : queue.tail;
  const after = first ? queue.head : undefined;
  lock.queue = queue;
  lock.before = before;
  lock.after = after;
  if (before) before.after = lock;
  else queue.head = lock;
  if (after) after.before = lock;
  else queue.tail = lock;
  count(queue, lock, 1);
}

export function dequeue<L extends Lock>(queue: Queue<L>, lock: L): void {
  const before = lock.before as L | undefined;
  const after = lock.after as L | undefined;
  if (before) before.after = after;
  else queue.head = after;
  if (after) after.before = before;
  else queue.tail = before;
  lock.queue = undefined;
  lock.before = undefined;
  lock.after = undefined;
  count(queue, lock, -1);
}

export function* locksIn<L extends Lock>(queue: Queue<L>): Generator<L> {
  let next: L | undefined;
  for (let lock = queue.head; lock; lock = next) {
    next = lock.after as L | undefined; // the present one may leave the queue meanwhile
    yield lock;
  }
}

/** Whether a lock of the queue other than `lock` holds a mode that `wanted` cannot be held beside. */
export function conflictsWith(queue: Queue, lock: Lock, wanted: LockMode): boolean {
  const own = lock.granted !== undefined && lock.queue === queue ? rank[lock.granted] : -1;
  for (const mode of conflicts[rank[wanted]] ?? [])
    if ((queue.held[mode] ?? 0) > (mode === own ? 1 : 0)) return true;
  return false;
}
