// Whether a lock can be granted, and what happens when it is. The numbers (6-3 ...) are those of the rules
// in "VAXcluster Principles", chapter 6, as fs/dlm/lock.c quotes and implements them.
import type { LockMode } from '@ssi/contracts';
import { flag } from './flags.ts';
import { compatible, modeOf, rank, valueDirection, writes } from './modes.ts';
import { conflictsWith, dequeue, enqueue, locksIn, type Queue } from './queue.ts';
import { grantRanges } from './range-operations.ts';
import type { Lock, Resource } from './resource.ts';
import { readValue, writeValue } from './value-block.ts';

/** What the owner of a lock is to be told. [VMS: completion AST, blocking AST] */
export type Ast<L extends Lock = Lock> =
  | {
      readonly type: 'granted';
      readonly lock: L;
      /** Granted in the mode of ALTPR or ALTCW. [SBF_ALTMODE] */
      readonly altMode: boolean;
      /** CONVDEADLK took its mode away while it waited. [SBF_DEMOTED] */
      readonly demoted: boolean;
      /** The value block as read; undefined: VALBLK was not asked for, or nothing was to be read. */
      readonly value: Uint8Array | undefined;
      /** [SBF_VALNOTVALID] */
      readonly valueInvalid: boolean;
    }
  | { readonly type: 'refused'; readonly lock: L; readonly errno: Refusal }
  /** It holds a mode that `mode`, asked for by another, cannot be granted beside. */
  | { readonly type: 'blocking'; readonly lock: L; readonly mode: LockMode };

/** Why what was asked for ended without a grant; a conversion's lock keeps the mode that it holds. */
export type Refusal = 'EAGAIN' | 'EDEADLK' | 'ECANCELED' | 'ETIMEDOUT';

/** When a lock is looked at. */
export type Occasion =
  /** As it comes in. */
  | 'new'
  /** While it is queued. */
  | 'queued'
  /** While it is queued, after queues were rebuilt in an order that nobody knows. [RSB_RECOVER_GRANT] */
  | 'recovered';

/** Whether `lock` can have `mode` now. */
export function canGrant(r: Resource, lock: Lock, mode: LockMode, when: Occasion): boolean {
  const { flags } = lock;
  const converts = lock.granted !== undefined;
  // 6-11: a new NL that does not consider who waits.
  if (flags & flag.EXPEDITE) return true;
  if (needsToken(r, mode)) return false;
  // 6-3: compatible with what all others hold, be they granted or converting.
  if (conflictsWith(r.granted, lock, mode) || conflictsWith(r.converting, lock, mode)) return false;
  if (converts && when === 'recovered') return true;
  // 6-5, 6-7: a conversion that comes in passes those that wait, unless QUECVT.
  if (when === 'new' && converts) return !(flags & flag.QUECVT) || r.converting.size === 0;
  if (flags & flag.NOORDER) return true;
  // 6-3: conversions in order.
  if (converts) return r.converting.head === lock;
  // 6-4: new requests when no conversion waits, in order.
  if (r.converting.size > 0) return false;
  return when === 'new' ? r.waiting.size === 0 : r.waiting.head === lock;
}

/** The mode it can have: the one it asks for, or the alternative. */
export function grantable(r: Resource, lock: Lock, when: Occasion): LockMode | undefined {
  const wanted = lock.requested as LockMode;
  return canGrant(r, lock, wanted, when) ? wanted : alternative(r, lock, when);
}

/** The mode it would take instead, where it can have that. [DLM_LKF_ALTPR, DLM_LKF_ALTCW] */
export function alternative(r: Resource, lock: Lock, when: Occasion): LockMode | undefined {
  const wanted = lock.requested as LockMode;
  const other = lock.flags & flag.ALTPR ? 'PR' : lock.flags & flag.ALTCW ? 'CW' : wanted;
  if (other === wanted) return undefined;
  return canGrant(r, lock, other, when === 'recovered' ? 'queued' : when) ? other : undefined;
}

/**
 * Whether `lock`, about to be queued, and a conversion that waits would wait for each other: each for what
 * the other holds, or for its turn. [fs/dlm/lock.c: conversion_deadlock_detect, which takes HEADQUE and
 * NOORDER for the usual order: it finds some that are none, and misses some]
 */
export function inConversionDeadlock(r: Resource, lock: Lock): boolean {
  const held = lock.granted as LockMode;
  const first = (lock.flags & flag.HEADQUE) !== 0;
  const blocks = r.converting.wanted.some(
    (n, wanted) => n > 0 && !compatible(held, modeOf(wanted)),
  );
  if (!blocks && !first) return false;
  for (const other of locksIn(r.converting))
    if (waitsFor(lock, other, !first) && waitsFor(other, lock, first)) return true;
  return false;
}

function waitsFor(lock: Lock, other: Lock, behind: boolean): boolean {
  if (lock.flags & flag.NODLCKWT) return false;
  if (behind && !(lock.flags & flag.NOORDER)) return true;
  return !compatible(other.granted as LockMode, lock.requested as LockMode);
}

/** A writing mode cannot be granted without a token; the block is refilled by the directory node. */
export const needsToken = (r: Resource, mode: LockMode): boolean =>
  writes(mode) && r.tokens.next > r.tokens.last && !sharesToken(r, mode);

/** Holders of CW write beside each other: who comes to others has their token. */
const sharesToken = (r: Resource, mode: LockMode): boolean =>
  mode === 'CW' && heldCw(r.granted) + heldCw(r.converting) > 0;
const heldCw = (queue: Queue): number => queue.held[rank.CW] ?? 0;

/** Grants `mode`, taking the lock off the queue it is on. */
export function grant<L extends Lock>(
  r: Resource<L>,
  lock: L,
  mode: LockMode,
  asts: Ast<L>[],
): void {
  const { demoted } = lock;
  const altMode = mode !== lock.requested;
  let value: Uint8Array | undefined;
  const direction = valueDirection(lock.granted, mode);
  if (direction === 'read') value = readValue(r, lock);
  else if (direction === 'write') writeValue(r, lock);
  if (lock.queue) dequeue(lock.queue as Queue<L>, lock);
  takeToken(r, lock, mode);
  lock.granted = mode;
  lock.requested = undefined;
  lock.demoted = false;
  lock.told = -1;
  enqueue(r.granted, lock);
  r.toldModes = 0;
  const { valueInvalid } = r;
  asts.push({ type: 'granted', lock, altMode, demoted, value, valueInvalid });
}

function takeToken(r: Resource, lock: Lock, mode: LockMode): void {
  const { tokens } = r;
  if (!writes(mode)) {
    lock.token = undefined;
    return;
  }
  // The lock itself is off its queue: what it held before does not count.
  if (!sharesToken(r, mode)) {
    tokens.newest = { transid: tokens.transid, n: tokens.next };
    tokens.next++;
  }
  lock.token = tokens.newest;
}

/**
 * Grants what can be granted: conversions first, then requests, each in order; then tells the holders what
 * they block. Run after everything that may have made room. [fs/dlm/lock.c: grant_pending_locks]
 */
export function grantPending<L extends Lock>(
  r: Resource<L>,
  asts: Ast<L>[],
  recovered = false,
): void {
  grantConversions(r, asts, recovered ? 'recovered' : 'queued');
  while (pass(r, r.waiting, 'queued', asts)) {}
  grantRanges(r, asts);
  tellBlocking(r, asts);
}

export function grantConversions<L extends Lock>(
  r: Resource<L>,
  asts: Ast<L>[],
  when: Occasion = 'queued',
): void {
  while (pass(r, r.converting, when, asts)) {}
}

/** One pass over a queue; whether anything was granted that may have made room for one before it. */
function pass<L extends Lock>(
  r: Resource<L>,
  queue: Queue<L>,
  when: Occasion,
  asts: Ast<L>[],
): boolean {
  let granted = false;
  for (const lock of locksIn(queue)) {
    const mode = grantable(r, lock, when);
    if (mode !== undefined) {
      grant(r, lock, mode, asts);
      granted = true;
    } else if (queue.noOrder === 0 && when === 'queued') break; // who comes after has to wait too
  }
  return granted && queue.size > 0;
}

/** Tells each granted lock the highest mode that it blocks, once, and again only for a higher one. */
export function tellBlocking<L extends Lock>(r: Resource<L>, asts: Ast<L>[]): void {
  let modes = 0;
  for (let m = 0; m < 6; m++)
    if ((r.converting.wanted[m] ?? 0) + (r.waiting.wanted[m] ?? 0) > 0) modes |= 1 << m;
  if ((modes & ~r.toldModes) === 0) return;
  r.toldModes = modes | r.toldModes;
  for (const lock of locksIn(r.granted)) tellOne(lock, modes, asts);
}

/** Of the modes (bits by rank) the highest one that `lock` blocks. */
function tellOne<L extends Lock>(lock: L, modes: number, asts: Ast<L>[]): void {
  if (!lock.bast || lock.granted === undefined) return;
  for (let m = 5; m > lock.told; m--) {
    if (!(modes & (1 << m)) || compatible(lock.granted, modeOf(m))) continue;
    lock.told = m;
    asts.push({ type: 'blocking', lock, mode: modeOf(m) });
    return;
  }
}

/** For NOQUEUEBAST: tells all that stand in the way of `lock`, which is not queued. */
export function tellAll<L extends Lock>(r: Resource<L>, lock: L, asts: Ast<L>[]): void {
  const modes = 1 << rank[lock.requested as LockMode];
  for (const queue of [r.granted, r.converting])
    for (const other of locksIn(queue)) if (other !== lock) tellOne(other, modes, asts);
}
