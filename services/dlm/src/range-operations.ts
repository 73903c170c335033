// What a master does about byte ranges. Unlike for modes nobody waits for his turn: whatever is compatible
// with what is held goes at once, and when something is given up those who wait are looked at in the order
// in which they came. [fcntl(2): F_SETLK, F_SETLKW, F_GETLK; fs/locks.c: posix_lock_inode]
import { fail, type LockRange, ok, type Reply } from '@ssi/contracts';
import { flag } from './flags.ts';
import type { Ast } from './grant.ts';
import { dequeue, enqueue } from './queue.ts';
import { obstacle, type Segment, withRange } from './ranges.ts';
import type { Lock, Ranges, Resource } from './resource.ts';

const rangesOf = <L extends Lock>(r: Resource<L>): Ranges<L> => {
  r.ranges ??= { held: new Map(), waiting: [] };
  return r.ranges;
};

/**
 * A range for the owner `lock`, which is of mode NL (else EINVAL): while it waits it is on no queue. Ends in `granted`; in `refused`: EAGAIN with
 * NOQUEUE, EDEADLK where those in its way wait for it on this resource (but with NODLCKWT, as for OFD
 * locks); or waits. EBUSY: the lock waits for something already.
 */
export function lockRange<L extends Lock>(
  r: Resource<L>,
  lock: L,
  ask: { readonly range: LockRange; readonly flags: number },
  asts: Ast<L>[],
): Reply<undefined, 'EBUSY' | 'EINVAL'> {
  if (lock.granted === undefined || lock.requested !== undefined)
    return fail('EBUSY', 'the lock waits: cancel that, or wait for its completion');
  if (lock.granted !== 'NL')
    return fail('EINVAL', 'the owner of a byte range is a lock of mode NL');
  const { range: wish, flags } = ask;
  const ranges = rangesOf(r);
  if (blockersOf(ranges, lock, wish).length === 0) {
    give(r, lock, wish, asts);
    grantRanges(r, asts);
    return ok();
  }
  const errno =
    flags & flag.NOQUEUE
      ? 'EAGAIN'
      : !(flags & flag.NODLCKWT) && wouldBeStuck(ranges, lock, wish)
        ? 'EDEADLK'
        : undefined;
  if (errno) {
    asts.push({ type: 'refused', lock, errno });
    return ok();
  }
  // Off its queue while it waits, since queues count what their locks ask for.
  dequeue(r.granted, lock);
  lock.requested = lock.granted;
  lock.flags = flags;
  ranges.waiting.push({ lock, wish });
  return ok();
}

/** What another owner has that is in the way: the first of it. [F_GETLK] */
export function testRange<L extends Lock>(
  r: Resource<L>,
  lock: L,
  wish: LockRange,
): { readonly lkid: number; readonly segment: Segment } | undefined {
  for (const [lkid, segments] of r.ranges?.held ?? []) {
    const segment = lkid === lock.lkid ? undefined : obstacle(segments, wish);
    if (segment) return { lkid, segment };
  }
  return undefined;
}

/** Owners in the way of `lock`, by lkid. */
export const blockersOf = (ranges: Ranges, lock: Lock, wish: LockRange): number[] =>
  [...ranges.held].flatMap(([lkid, segments]) =>
    lkid !== lock.lkid && obstacle(segments, wish) ? [lkid] : [],
  );

/** Does one of those in its way wait for it, directly or through others? */
function wouldBeStuck(ranges: Ranges, lock: Lock, wish: LockRange): boolean {
  const seen = new Set<number>();
  const todo = blockersOf(ranges, lock, wish);
  for (let lkid = todo.pop(); lkid !== undefined; lkid = todo.pop()) {
    if (lkid === lock.lkid) return true;
    if (seen.has(lkid)) continue;
    seen.add(lkid);
    const waits = ranges.waiting.find((w) => w.lock.lkid === lkid);
    if (waits && !(waits.lock.flags & flag.NODLCKWT))
      todo.push(...blockersOf(ranges, waits.lock, waits.wish));
  }
  return false;
}

function give<L extends Lock>(r: Resource<L>, lock: L, wish: LockRange, asts: Ast<L>[]): void {
  const { held } = rangesOf(r);
  const segments = withRange(held.get(lock.lkid) ?? [], wish);
  if (segments.length > 0) held.set(lock.lkid, segments);
  else held.delete(lock.lkid);
  const { valueInvalid } = r;
  asts.push({
    ...{ type: 'granted', lock, altMode: false, demoted: false },
    ...{ value: undefined, valueInvalid },
  });
}

/** Gives those who wait what is free by now. Run after everything that may have made room. */
export function grantRanges<L extends Lock>(r: Resource<L>, asts: Ast<L>[]): void {
  const { ranges } = r;
  for (let at = 0; ranges && at < ranges.waiting.length; ) {
    const { lock, wish } = ranges.waiting[at] as (typeof ranges.waiting)[number];
    if (blockersOf(ranges, lock, wish).length > 0) {
      at++;
      continue;
    }
    ranges.waiting.splice(at, 1);
    lock.requested = undefined;
    enqueue(r.granted, lock);
    give(r, lock, wish, asts);
    // Write to read makes room too, for those who came earlier.
    at = 0;
  }
}

/** It waits for no range any more; what it has it keeps. */
export function withdrawRange(r: Resource, lock: Lock): void {
  const at = r.ranges?.waiting.findIndex((w) => w.lock === lock) ?? -1;
  if (at >= 0) r.ranges?.waiting.splice(at, 1);
}

/** As the owner knows them, where the master that knew was lost. */
export function keepRanges<L extends Lock>(
  r: Resource<L>,
  lock: L,
  kept: readonly Segment[],
): void {
  if (kept.length > 0) rangesOf(r).held.set(lock.lkid, kept);
}

/** The owner is gone, and all that it had. */
export function dropRanges(r: Resource, lock: Lock): void {
  r.ranges?.held.delete(lock.lkid);
}
