// The service's queue algebra and the oracle, given the same operations side by side. The first thing
// on which they differ is an error that shows the operations that led there.
import { isDeepStrictEqual } from 'node:util';
import type { LockFlag } from '@ssi/contracts';
import {
  type Ast,
  bitsOf,
  cancel,
  convert,
  grantPending,
  type Lock,
  locksIn,
  newLock,
  newResource,
  purge,
  type Resource,
  request,
  unlock,
} from '../src/index.ts';
import { type Flag, type Mode, modes, Oracle, type Outcome, type Standing } from './oracle.ts';

export type Operation =
  | { op: 'request'; id: number; mode: Mode; flags?: readonly Flag[] }
  | { op: 'convert'; id: number; mode: Mode; flags?: readonly Flag[]; value?: string }
  | { op: 'unlock' | 'die'; id: number; value?: string }
  | { op: 'cancel'; id: number };

const bytes = (value: string | undefined) => (value === undefined ? undefined : Buffer.from(value));
const text = (value: Uint8Array) => Buffer.from(value).toString().replaceAll('\0', '');

export class Pair {
  #core = {
    r: newResource('r', { transid: 1, first: 1, last: 2 ** 34 }),
    locks: new Map<number, Lock>(),
  };
  #oracle = new Oracle();
  #path: readonly Operation[] = [];

  clone(): Pair {
    const copy = new Pair();
    copy.#core = structuredClone(this.#core);
    copy.#oracle = this.#oracle.clone();
    copy.#path = this.#path;
    return copy;
  }

  standing(): Standing[] {
    return this.#oracle.state();
  }

  run(operation: Operation): void {
    this.#path = [...this.#path, operation];
    const told = new Map([...this.#core.locks].map(([id, { told: mode }]) => [id, mode]));
    const asts = this.#runCore(operation);
    const expected = this.#runOracle(operation).filter(({ status }) => status !== 'unlocked');
    this.#same('what owners are told', this.#outcomes(operation, asts), expected);
    this.#same('the queues', this.#standing(), this.#oracle.state());
    this.#checkBlocking(asts, told);
  }

  #same(what: string, core: unknown, oracle: unknown): void {
    if (isDeepStrictEqual(core, oracle)) return;
    const lines = [...this.#path, { core }, { oracle }].map((line) => JSON.stringify(line));
    throw new Error(`${what} differ after\n${lines.join('\n')}`);
  }

  #runCore(operation: Operation): Ast[] {
    const { id } = operation;
    const { r, locks } = this.#core;
    const lock = locks.get(id) ?? newLock(id, true);
    locks.set(id, lock);
    const asts: Ast[] = [];
    // NOQUEUEBAST tells who is in the way, and changes nothing else.
    const named: LockFlag[] = ['VALBLK'];
    if ('flags' in operation && operation.flags?.includes('NOQUEUE')) named.push('NOQUEUEBAST');
    const flags = bitsOf(named.concat('flags' in operation ? (operation.flags ?? []) : []));
    const value = 'value' in operation ? bytes(operation.value) : undefined;
    let reply: { ok: boolean; errno?: string } = { ok: true };
    if (operation.op === 'request') reply = request(r, lock, { mode: operation.mode, flags }, asts);
    else if (operation.op === 'convert')
      reply = convert(r, lock, { mode: operation.mode, flags, value }, asts);
    else if (operation.op === 'unlock')
      reply = unlock(r, lock, { flags, value, force: true }, asts);
    else if (operation.op === 'cancel') reply = cancel(r, lock, 'ECANCELED', asts);
    else {
      purge(r, lock);
      grantPending(r, asts);
    }
    if (!reply.ok) this.#same('replies', reply.errno, 'ok');
    if (!lock.queue) locks.delete(id);
    return asts;
  }

  #runOracle(operation: Operation): Outcome[] {
    const { id } = operation;
    if (operation.op === 'request')
      return this.#oracle.request(id, operation.mode, operation.flags);
    if (operation.op === 'convert')
      return this.#oracle.convert(id, operation.mode, operation.flags, operation.value);
    if (operation.op === 'cancel') return this.#oracle.cancel(id);
    return this.#oracle.unlock(id, operation.value, operation.op);
  }

  #outcomes(operation: Operation, asts: readonly Ast[]): Outcome[] {
    return asts.flatMap((ast): Outcome[] => {
      const { lkid: id } = ast.lock;
      if (ast.type === 'blocking') return [];
      if (ast.type === 'refused') {
        // The oracle has one word for both ends of a lock that is unlocked while it waits.
        if (operation.op === 'unlock' && id === operation.id) return [];
        return [{ id, status: ast.errno as 'EAGAIN' }];
      }
      const { altMode: altered, demoted, value, valueInvalid } = ast;
      const mode = ast.lock.granted as Mode;
      const read = value && { value: text(value), valid: !valueInvalid };
      return [{ id, status: 'granted', mode, altered, demoted, ...(read && { read }) }];
    });
  }

  #standing(): Standing[] {
    const { granted, converting, waiting } = this.#core.r;
    const of = (queue: Resource['granted']) =>
      [...locksIn(queue)].map(({ lkid: id, granted: held, requested: asked }) => ({
        id,
        held,
        asked,
      }));
    return [...of(granted).sort((a, b) => a.id - b.id), ...of(converting), ...of(waiting)];
  }

  /**
   * A holder is told of a mode only if it stands in the way of one that wants it, and more than it was
   * told before; and each holder has been told of the highest that it stands in the way of.
   */
  #checkBlocking(asts: readonly Ast[], before: ReadonlyMap<number, number>): void {
    const standing = this.#standing();
    const rank = (mode: Mode) => modes.indexOf(mode);
    const apart = (held: Mode, asked: Mode) => !compatibleModes.has(`${held} ${asked}`);
    const told = new Map(before);
    for (const ast of asts) {
      const { lkid } = ast.lock;
      if (ast.type === 'granted') told.set(lkid, -1);
      if (ast.type !== 'blocking') continue;
      const { granted } = ast.lock;
      const fair = granted && apart(granted, ast.mode) && rank(ast.mode) > (told.get(lkid) ?? -1);
      this.#same(`blocking ASTs to ${lkid} of ${ast.mode}`, fair, true);
      told.set(lkid, rank(ast.mode));
    }
    const asked = standing.flatMap((lock) => lock.asked ?? []);
    for (const { id, held } of standing.filter((lock) => !lock.asked)) {
      const ranks = asked.filter((mode) => apart(held as Mode, mode)).map(rank);
      const known = told.get(id) ?? -1;
      if (known < Math.max(-1, ...ranks)) this.#same(`blocking ASTs to ${id}`, known, ranks);
    }
  }
}

/** Pairs that may be held together [VMS DLM lock modes], once more and in another form. */
const compatibleModes = new Set(
  [
    'NL NL',
    'NL CR',
    'NL CW',
    'NL PR',
    'NL PW',
    'NL EX',
    'CR CR',
    'CR CW',
    'CR PR',
    'CR PW',
    'CW CW',
    'PR PR',
  ].flatMap((pair) => [pair, pair.split(' ').reverse().join(' ')]),
);
