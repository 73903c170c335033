// What of a machine outlives its process: state, context and the time that remains of its timers, as
// plain JSON. A Map, a Date or a function in it would silently become something else: asserted.
import assert from 'node:assert/strict';
import type { TimerJson } from './timers.ts';

export interface MachineSnapshotJson {
  /** xstate's persisted snapshot: value, context, status, history. */
  readonly machine: unknown;
  readonly timers: readonly TimerJson[];
  /** Number of the next timer without a name. */
  readonly nextTimer: number;
}

/** Throws, naming the path, unless `value` is JSON: what parse(stringify(value)) gives back unchanged. */
export function assertJson(value: unknown, path = 'context'): void {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return;
  if (typeof value === 'number') {
    assert(Number.isFinite(value), `${path} is ${value}: not JSON`);
    return;
  }
  assert(typeof value === 'object', `${path} is a ${typeof value}: not JSON`);
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) assertJson(item, `${path}[${i}]`);
    return;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  assert(
    prototype === Object.prototype || prototype === null,
    `${path} is a ${value.constructor?.name ?? 'class instance'}: not JSON`,
  );
  // An absent optional field and an undefined one are the same to JSON.
  for (const [key, item] of Object.entries(value))
    if (item !== undefined) assertJson(item, `${path}.${key}`);
}
