// System V semaphore set: arrays of operations done all or not at all, waiting for zero, undo for an owner
// that ends. [semop(2), semctl(2); linux: ipc/sem.c, whose order of waking this keeps]
import { type IpcOp, ipcLimits, type SemOp } from '@ssi/contracts';
import { done, refused, type Settled } from './call.ts';

interface Waiter {
  readonly id: number;
  readonly owner: string;
  readonly ops: readonly SemOp[];
  /** The operation it waits at. */
  blocking: SemOp;
}

export interface SemaphoreSet {
  readonly kind: 'sem';
  readonly values: number[];
  /** What is added when the owner ends, by owner and semaphore. */
  readonly undo: Record<string, number[]>;
  /** Those that change something, oldest first; and those that only wait for zero. */
  readonly altering: Waiter[];
  readonly waiting: Waiter[];
}

export const newSemaphoreSet = (nsems: number): SemaphoreSet => ({
  kind: 'sem',
  values: Array.from({ length: nsems }, () => 0),
  undo: {},
  altering: [],
  waiting: [],
});

const numsOf = (ops: readonly SemOp[]): number[] => ops.map((o) => o.num);

type Attempt = 'done' | 'ERANGE' | { readonly blocking: SemOp };

/** All of it or nothing. */
function attempt(set: SemaphoreSet, owner: string, ops: readonly SemOp[]): Attempt {
  const { semValueMax } = ipcLimits;
  const values = new Map<number, number>();
  const adjusted = new Map<number, number>();
  for (const o of ops) {
    const value = values.get(o.num) ?? set.values[o.num] ?? 0;
    if (o.op === 0 && value !== 0) return { blocking: o };
    if (value + o.op < 0) return { blocking: o };
    if (value + o.op > semValueMax) return 'ERANGE';
    if (o.undo) {
      const adj = (adjusted.get(o.num) ?? set.undo[owner]?.[o.num] ?? 0) - o.op;
      if (adj < -semValueMax - 1 || adj > semValueMax) return 'ERANGE';
      adjusted.set(o.num, adj);
    }
    values.set(o.num, value + o.op);
  }
  for (const [num, value] of values) set.values[num] = value;
  for (const [num, adj] of adjusted) {
    set.undo[owner] ??= set.values.map(() => 0);
    set.undo[owner][num] = adj;
  }
  return 'done';
}

const ended = (id: number, how: 'done' | 'ERANGE' | 'EAGAIN'): Settled =>
  how === 'done'
    ? done(id)
    : refused(
        id,
        how,
        how === 'EAGAIN' ? 'it would have to wait' : 'a value or an undo would leave its range',
      );

/** Tries a waiter; undefined: it goes on waiting. */
function retry(set: SemaphoreSet, w: Waiter): Settled | undefined {
  const tried = attempt(set, w.owner, w.ops);
  if (typeof tried !== 'object') return ended(w.id, tried);
  w.blocking = tried.blocking;
  return tried.blocking.nowait ? ended(w.id, 'EAGAIN') : undefined;
}

/**
 * Whoever can go on after a change of these semaphores: those that wait for zero first, if one of them is, then
 * changes, oldest first, from the start again after each.
 */
function wake(set: SemaphoreSet, changed: readonly number[]): Settled[] {
  const settled: Settled[] = [];
  const zeros = (nums: readonly number[]): void => {
    if (!nums.some((num) => set.values[num] === 0)) return;
    for (const w of [...set.waiting]) {
      const end = retry(set, w);
      if (!end) continue;
      set.waiting.splice(set.waiting.indexOf(w), 1);
      settled.push(end);
    }
  };
  zeros(changed);
  for (let at = 0; at < set.altering.length; ) {
    const w = set.altering[at];
    const end = w && retry(set, w);
    if (!w || !end) {
      at++;
      continue;
    }
    set.altering.splice(at, 1);
    settled.push(end);
    if (!end.reply.ok) continue;
    zeros(numsOf(w.ops));
    at = 0;
  }
  return settled;
}

export function semop(
  set: SemaphoreSet,
  call: { id: number; owner: string },
  ops: readonly SemOp[],
) {
  const { id, owner } = call;
  if (ops.length < 1) return [refused(id, 'EINVAL', 'no operation')];
  if (ops.length > ipcLimits.semOpsMax)
    return [refused(id, 'E2BIG', `more than ${ipcLimits.semOpsMax} operations`)];
  if (ops.some((o) => o.num >= set.values.length))
    return [refused(id, 'EFBIG', `the set has ${set.values.length} semaphores`)];
  const tried = attempt(set, owner, ops);
  const alters = ops.some((o) => o.op !== 0);
  if (typeof tried !== 'object')
    return [ended(id, tried), ...(tried === 'done' && alters ? wake(set, numsOf(ops)) : [])];
  if (tried.blocking.nowait) return [ended(id, 'EAGAIN')];
  const queue = alters ? set.altering : set.waiting;
  queue.push({ id, owner, ops, blocking: tried.blocking });
  return [];
}

function setValues(set: SemaphoreSet, id: number, from: number, values: readonly number[]) {
  if (values.some((v) => v < 0 || v > ipcLimits.semValueMax))
    return [refused(id, 'ERANGE', `a value is 0..${ipcLimits.semValueMax}`)];
  for (const [i, value] of values.entries()) {
    set.values[from + i] = value;
    // What was to be undone was about the value that is gone.
    for (const adj of Object.values(set.undo)) adj[from + i] = 0;
  }
  return [done(id), ...wake(set, [...set.values.keys()])];
}

export function semctl(set: SemaphoreSet, id: number, m: IpcOp<'semctl'>): Settled[] {
  const { command, values = [] } = m;
  if (command === 'GETALL') return [done(id, { values: [...set.values] })];
  if (command === 'SETALL')
    return values.length === set.values.length
      ? setValues(set, id, 0, values)
      : [refused(id, 'EINVAL', `the set has ${set.values.length} semaphores`)];
  const num = m.num ?? 0;
  const value = set.values[num];
  // As the kernel does, the value is looked at before the number.
  if (command === 'SETVAL' && ((values[0] ?? 0) < 0 || (values[0] ?? 0) > ipcLimits.semValueMax))
    return [refused(id, 'ERANGE', `a value is 0..${ipcLimits.semValueMax}`)];
  if (value === undefined)
    return [refused(id, 'EINVAL', `the set has ${set.values.length} semaphores`)];
  if (command === 'GETVAL') return [done(id, { value })];
  if (command === 'SETVAL') return setValues(set, id, num, [values[0] ?? 0]);
  const counted = [...set.altering, ...set.waiting].filter(
    ({ blocking }) =>
      blocking.num === num && (command === 'GETZCNT' ? blocking.op === 0 : blocking.op < 0),
  );
  return [done(id, { value: counted.length })];
}

/** The owner ended: what it undertook to undo, as far as values go, and whoever that wakes. [linux: exit_sem] */
export function undo(set: SemaphoreSet, owner: string): Settled[] {
  const adj = set.undo[owner];
  if (!adj) return [];
  delete set.undo[owner];
  for (const [num, by] of adj.entries()) {
    const value = (set.values[num] ?? 0) + by;
    set.values[num] = Math.min(Math.max(value, 0), ipcLimits.semValueMax);
  }
  return wake(set, [...set.values.keys()]);
}
