// A resource at its master: its locks by number, what an operation does there, and what its owner is told.
import {
  type dlm,
  fail,
  type LockMode,
  type LockOutcome,
  type LockRange,
  ok,
  type Reply,
  type RequestOf,
} from '@ssi/contracts';
import { type Ast, grantPending } from './grant.ts';
import type { Lead } from './moving.ts';
import { cancel, convert, purge, request, unlock } from './operations.ts';
import { lockRange, testRange } from './range-operations.ts';
import { farthest, lengthOf, type Segment } from './ranges.ts';
import { type Lock, newResource, type Resource } from './resource.ts';
import type { Block } from './tokens.ts';

export type AskRequest = RequestOf<typeof dlm.ops.ask>;
export type ReleaseRequest = RequestOf<typeof dlm.ops.release>;

export interface HeldLock extends Lock {
  readonly node: number;
  /** Of the lock manager there. */
  readonly life: number;
  who: AskRequest['who'];
  op: number;
  /** When that operation came in. */
  askedMs: number;
  outcome: LockOutcome | undefined;
  /** What came with it when it was rebuilt. */
  rebuilt?: {
    readonly valueSeq: number;
    readonly valueKnown: boolean;
    readonly value?: Uint8Array | undefined;
  };
}

export interface Mastered {
  readonly key: string;
  readonly resource: Resource<HeldLock>;
  readonly locks: Map<number, HeldLock>;
  /** As its directory gave them out: their first names this mastership. */
  readonly tokens: Block;
  /** Nodes that have not said yet what they hold: nothing is granted meanwhile. */
  readonly awaited: Set<number>;
  recovering: PromiseWithResolvers<void> | undefined;
  /** Its value block is to be found among what others hold. */
  valueUnknown: boolean;
  /** Locks of a lock manager that was started again, and may have them still. */
  readonly doubtful: Map<number, LockMode>;
  idleSinceMs: number;
  /** When another node gave it to this one; undefined: it never was another's. */
  movedMs: number | undefined;
  readonly lead: Lead;
  /** It is on its way to another node: nothing is granted here any more. */
  yielding: boolean;
}

export const newMastered = (key: string, tokens: Block, nowMs: number): Mastered => ({
  ...{ key, resource: newResource<HeldLock>(key, tokens), locks: new Map(), tokens },
  ...{ awaited: new Set(), recovering: undefined, doubtful: new Map() },
  ...{ valueUnknown: false, idleSinceMs: nowMs, movedMs: undefined },
  ...{ lead: { node: 0, by: 0 }, yielding: false },
});

export function operate(
  r: Resource<HeldLock>,
  lock: HeldLock,
  q: AskRequest,
  asts: Ast<HeldLock>[],
): Reply<undefined, 'EINVAL' | 'EBUSY'> {
  const { range, flags } = q;
  if (!range) return (q.convert ? convert : request)(r, lock, q, asts);
  if (!q.convert) return fail('EINVAL', 'a byte range is for a lock that is held');
  // A test is told as if it were granted; what it found comes along.
  const wish = q.test ? { ...range, type: 'none' as const, length: 1, start: farthest } : range;
  return lockRange(r, lock, { range: wish, flags }, asts);
}

/** Withdraws what is pending, or gives the lock up. */
export function giveUp(
  { resource, locks }: Mastered,
  lock: HeldLock,
  q: ReleaseRequest,
  asts: Ast<HeldLock>[],
): Reply<undefined, 'EBUSY'> {
  if (q.cancel) {
    if (lock.op !== q.op) return fail('EBUSY', 'that operation is over');
    return cancel(resource, lock, q.cancel, asts);
  }
  if (q.died) {
    if (lock.requested !== undefined) cancel(resource, lock, 'ECANCELED', asts);
    if (lock.granted !== undefined) purge(resource, lock);
    grantPending(resource, asts);
  } else {
    const done = unlock(resource, lock, q, asts);
    if (!done.ok) return done;
  }
  locks.delete(lock.lkid);
  return ok();
}

export const heldRange = ({ start, write, ...rest }: Segment, lkid: number, pid?: number) => ({
  type: write ? ('write' as const) : ('read' as const),
  ...{ start, lkid, length: lengthOf({ start, write, ...rest }) },
  ...(pid !== undefined && { pid }),
});

export function inTheWay(m: Mastered, lock: HeldLock, range: LockRange) {
  const found = testRange(m.resource, lock, range);
  if (!found) return {};
  return { inTheWay: heldRange(found.segment, found.lkid, m.locks.get(found.lkid)?.who.pid) };
}

export function outcomeOf(
  r: Resource,
  ast: Exclude<Ast<HeldLock>, { type: 'blocking' }>,
): LockOutcome {
  if (ast.type === 'refused')
    return { state: 'refused', errno: ast.errno, detail: refusalText[ast.errno] };
  const { lock, value, valueInvalid, altMode, demoted } = ast;
  return {
    state: 'granted',
    mode: lock.granted as LockMode,
    ...(lock.token && { token: { ...lock.token } }),
    ...(value && { value }),
    valueSeq: r.valueSeq,
    ...{ valueInvalid, altMode, demoted },
  };
}

const refusalText = {
  EAGAIN: 'another lock is in the way, and NOQUEUE was asked for',
  EDEADLK: 'it would wait for a conversion that waits for it; give the lock up, or try again',
  ECANCELED: 'cancelled',
  ETIMEDOUT: 'not granted in the time given',
} as const;
