// What a master does to a resource: request, convert, unlock, cancel. Each changes the resource in place
// and adds to `asts` what the owners of locks are to be told, in order. They know nothing of owners, nodes
// and time. [fs/dlm/lock.c: do_request, do_convert, do_unlock, do_cancel]
import { fail, type LockMode, ok, type Reply } from '@ssi/contracts';
import { checkConvert, checkRequest, flag } from './flags.ts';
import {
  type Ast,
  grant,
  grantable,
  grantConversions,
  grantPending,
  inConversionDeadlock,
  type Refusal,
  tellAll,
  tellBlocking,
} from './grant.ts';
import { writesValue } from './modes.ts';
import { dequeue, enqueue, type Queue } from './queue.ts';
import { dropRanges, withdrawRange } from './range-operations.ts';
import type { Lock, Resource } from './resource.ts';
import { writeValue } from './value-block.ts';

export interface Ask {
  readonly mode: LockMode;
  readonly flags?: number;
  /** With VALBLK: what a conversion down writes. */
  readonly value?: Uint8Array | undefined;
}

/** A new lock. Ends in `granted`, in `refused` (EAGAIN), or waits. EINVAL: flags that make no sense. */
export function request<L extends Lock>(
  r: Resource<L>,
  lock: L,
  ask: Ask,
  asts: Ast<L>[],
): Reply<undefined, 'EINVAL'> {
  const checked = checkRequest(ask.mode, ask.flags ?? 0);
  if (!checked.ok) return checked;
  take(lock, ask);
  const mode = grantable(r, lock, 'new');
  if (mode !== undefined) {
    grant(r, lock, mode, asts);
    // NOORDER and EXPEDITE are granted past others, who may want to know of it.
    if (r.converting.size + r.waiting.size > 0) tellBlocking(r, asts);
    return ok();
  }
  if (lock.flags & flag.NOQUEUE) {
    if (lock.flags & flag.NOQUEUEBAST) tellAll(r, lock, asts);
    lock.requested = undefined;
    asts.push({ type: 'refused', lock, errno: 'EAGAIN' });
    return ok();
  }
  wait(r, r.waiting, lock, asts);
  return ok();
}

/**
 * Another mode for a granted lock. Ends in `granted`; in `refused` with the old mode kept (EAGAIN; EDEADLK
 * where it would wait for a conversion that waits for it); or waits with the old mode held.
 * EINVAL: flags that make no sense. EBUSY: the lock waits for something already.
 */
export function convert<L extends Lock>(
  r: Resource<L>,
  lock: L,
  ask: Ask,
  asts: Ast<L>[],
): Reply<undefined, 'EINVAL' | 'EBUSY'> {
  if (lock.granted === undefined || lock.requested !== undefined)
    return fail('EBUSY', 'the lock waits: cancel that, or wait for its completion');
  const checked = checkConvert(lock.granted, ask.mode, ask.flags ?? 0);
  if (!checked.ok) return checked;
  // Off the queue while its flags and modes change, since queues count them.
  dequeue(r.granted, lock);
  take(lock, ask);
  let mode = grantable(r, lock, 'new');
  if (mode === undefined && !(lock.flags & flag.NOQUEUE) && inConversionDeadlock(r, lock)) {
    if (!(lock.flags & flag.CONVDEADLK)) {
      keep(r, lock);
      asts.push({ type: 'refused', lock, errno: 'EDEADLK' });
      return ok();
    }
    lock.granted = 'NL';
    lock.token = undefined;
    lock.demoted = true;
    // What it held may be what the others waited for; it comes after them.
    grantConversions(r, asts);
    mode = grantable(r, lock, 'new');
  }
  if (mode !== undefined) {
    grant(r, lock, mode, asts);
    grantPending(r, asts);
    return ok();
  }
  if (lock.flags & flag.NOQUEUE) {
    if (lock.flags & flag.NOQUEUEBAST) tellAll(r, lock, asts);
    keep(r, lock);
    asts.push({ type: 'refused', lock, errno: 'EAGAIN' });
    return ok();
  }
  wait(r, r.converting, lock, asts);
  return ok();
}

export interface Giving {
  /** VALBLK or IVVALBLK. */
  readonly flags?: number;
  readonly value?: Uint8Array | undefined;
  /** Also while something is pending: that ends with ECANCELED. */
  readonly force?: boolean;
}

/** Gives a lock up. From PW and EX the value block is written with VALBLK. EBUSY: something is pending. */
export function unlock<L extends Lock>(
  r: Resource<L>,
  lock: L,
  giving: Giving,
  asts: Ast<L>[],
): Reply<undefined, 'EBUSY'> {
  if (lock.requested !== undefined) {
    if (!giving.force) return fail('EBUSY', 'the lock waits: cancel that first, or use force');
    asts.push({ type: 'refused', lock, errno: 'ECANCELED' });
  }
  remove(r, lock);
  dropRanges(r, lock);
  if (lock.granted !== undefined && writesValue(lock.granted)) {
    lock.flags = giving.flags ?? 0;
    lock.value = giving.value;
    writeValue(r, lock);
  }
  lock.granted = undefined;
  grantPending(r, asts);
  return ok();
}

/**
 * Withdraws what is pending: the owner is told `errno`; a conversion keeps the mode that it holds, a new
 * lock is gone. EBUSY: nothing is pending. [dlm_unlock(3): LKF_CANCEL]
 */
export function cancel<L extends Lock>(
  r: Resource<L>,
  lock: L,
  errno: Refusal,
  asts: Ast<L>[],
): Reply<undefined, 'EBUSY'> {
  if (lock.requested === undefined) return fail('EBUSY', 'nothing is pending');
  asts.push({ type: 'refused', lock, errno });
  remove(r, lock);
  if (lock.granted !== undefined) keep(r, lock);
  grantPending(r, asts);
  return ok();
}

/**
 * Takes away the lock of an owner that is gone. One that could write the value block leaves it invalid.
 * Nothing is granted: `grantPending` once all of them are away.
 */
export function purge<L extends Lock>(r: Resource<L>, lock: L): void {
  if (lock.granted !== undefined && writesValue(lock.granted)) r.valueInvalid = true;
  remove(r, lock);
  dropRanges(r, lock);
}

function take(lock: Lock, ask: Ask): void {
  lock.requested = ask.mode;
  lock.flags = ask.flags ?? 0;
  lock.value = ask.value;
  lock.demoted = false;
}

function remove(r: Resource, lock: Lock): void {
  if (lock.queue) dequeue(lock.queue, lock);
  else withdrawRange(r, lock);
  lock.requested = undefined;
}

/** Queued. At the head it may be one that can be granted; one that was demoted made room for others. */
function wait<L extends Lock>(r: Resource<L>, queue: Queue<L>, lock: L, asts: Ast<L>[]): void {
  const first = (lock.flags & flag.HEADQUE) !== 0;
  enqueue(queue, lock, first);
  if (first || lock.demoted) grantPending(r, asts);
  else tellBlocking(r, asts);
}

/** Back on the granted queue with what it holds. */
function keep<L extends Lock>(r: Resource<L>, lock: L): void {
  lock.requested = undefined;
  lock.demoted = false;
  enqueue(r.granted, lock);
  r.toldModes = 0; // who is blocked may be new to it
}
