// Byte ranges, by the sentences of fcntl(2), and beside an oracle that keeps an array of bytes.
import type { LockRange } from '@ssi/contracts';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type Ast,
  bitsOf,
  cancel,
  type Lock,
  lockRange,
  lowered,
  newLock,
  newResource,
  request,
  type Segment,
  unlock,
  withRange,
} from '../src/index.ts';
import { type Client, Cluster, until } from './cluster.ts';

const range = (type: LockRange['type'], start: number, length: number): LockRange => ({
  ...{ type, start, length },
});
const shown = (segments: readonly Segment[]): string =>
  segments.map((s) => `${s.start}-${s.end}${s.write ? 'w' : 'r'}`).join(' ');
const made = (...wishes: LockRange[]) =>
  wishes.reduce<Segment[]>((segments, wish) => withRange(segments, wish), []);

describe('DLM: byte ranges of one owner', () => {
  test('a hole in the middle splits, and what fills it joins', () => {
    const split = made(range('write', 0, 10), range('none', 4, 2));
    expect(shown(split)).toBe('0-4w 6-10w');
    expect(shown(withRange(split, range('write', 4, 2)))).toBe('0-10w');
    expect(shown(withRange(split, range('read', 4, 2)))).toBe('0-4w 4-6r 6-10w');
  });
  test('a new type replaces the old one where both are', () => {
    expect(shown(made(range('read', 0, 10), range('write', 8, 10)))).toBe('0-8r 8-18w');
  });
  test('length 0 is to the end, wherever that comes to be', () => {
    const all = made(range('write', 5, 0));
    expect(shown(withRange(all, range('none', 100, 0)))).toBe('5-100w');
    expect(shown(withRange(all, range('none', 0, 0)))).toBe('');
  });
  test('what may have been given up at a lost master counts as that', () => {
    const had = made(range('write', 0, 10));
    expect(shown(lowered(had, range('none', 0, 5)))).toBe('5-10w');
    expect(shown(lowered(had, range('read', 5, 10)))).toBe('0-5w 5-10r');
    expect(shown(lowered(made(range('read', 0, 10)), range('write', 0, 10)))).toBe('0-10r');
  });
});

const bytes = 12;
type Cell = { readonly owner: number; readonly write: boolean };

/** Each byte with those who have it. */
class ByteOracle {
  readonly cells: Cell[][] = Array.from({ length: bytes }, () => []);
  waiting: { readonly owner: number; readonly wish: LockRange }[] = [];

  #blockers(owner: number, { type, start, length }: LockRange): Set<number> {
    const there = this.cells.slice(start, start + length).flat();
    const bad = there.filter((c) => c.owner !== owner && (c.write || type === 'write'));
    return new Set(type === 'none' ? [] : bad.map((c) => c.owner));
  }
  #give(owner: number, { type, start, length }: LockRange): void {
    for (let at = start; at < start + length; at++) {
      const others = (this.cells[at] ?? []).filter((c) => c.owner !== owner);
      this.cells[at] = type === 'none' ? others : [...others, { owner, write: type === 'write' }];
    }
  }
  #reaches(from: number, to: number, seen = new Set<number>()): boolean {
    if (from === to) return true;
    if (seen.has(from)) return false;
    seen.add(from);
    const waits = this.waiting.find((w) => w.owner === from);
    return [...(waits ? this.#blockers(from, waits.wish) : [])].some((next) =>
      this.#reaches(next, to, seen),
    );
  }
  ask(owner: number, wish: LockRange, wait: boolean): string[] {
    const blockers = [...this.#blockers(owner, wish)];
    if (blockers.length === 0) {
      this.#give(owner, wish);
      return [`${owner} granted`, ...this.wake()];
    }
    if (!wait) return [`${owner} EAGAIN`];
    if (blockers.some((b) => this.#reaches(b, owner))) return [`${owner} EDEADLK`];
    this.waiting.push({ owner, wish });
    return [];
  }
  wake(): string[] {
    const told: string[] = [];
    for (;;) {
      const next = this.waiting.find((w) => this.#blockers(w.owner, w.wish).size === 0);
      if (!next) return told;
      this.waiting = this.waiting.filter((w) => w !== next);
      this.#give(next.owner, next.wish);
      told.push(`${next.owner} granted`);
    }
  }
  leaves(owner: number): string[] {
    const waited = this.waiting.some((w) => w.owner === owner);
    this.waiting = this.waiting.filter((w) => w.owner !== owner);
    this.#give(owner, { type: 'none', start: 0, length: bytes });
    return [...(waited ? [`${owner} ECANCELED`] : []), ...this.wake()];
  }
  cancel(owner: number): string[] {
    this.waiting = this.waiting.filter((w) => w.owner !== owner);
    return [`${owner} ECANCELED`, ...this.wake()];
  }
}

const wish = fc.record({
  owner: fc.nat({ max: 4 }),
  what: fc.constantFrom('read', 'write', 'write', 'none', 'leave', 'cancel'),
  start: fc.nat({ max: bytes - 1 }),
  length: fc.integer({ min: 1, max: 5 }),
  wait: fc.boolean(),
});

test('DLM: byte ranges: the core does what an array of bytes does', () => {
  let operations = 0;
  let stuck = 0;
  fc.assert(
    fc.property(fc.array(wish, { maxLength: 60, size: 'max' }), (wishes) => {
      const oracle = new ByteOracle();
      const r = newResource('r', { transid: 1, first: 1, last: 9 });
      const locks = new Map<number, Lock>();
      for (const { owner, what, start, length, wait } of wishes) {
        const lock = locks.get(owner) ?? newLock(owner);
        const asts: Ast[] = [];
        if (!locks.has(owner)) request(r, lock, { mode: 'NL' }, []);
        locks.set(owner, lock);
        let expected: string[];
        const waits = oracle.waiting.some((w) => w.owner === owner);
        if (what === 'leave') {
          expected = oracle.leaves(owner);
          unlock(r, lock, { force: true }, asts);
          locks.delete(owner);
        } else if (what === 'cancel') {
          if (!waits) continue;
          expected = oracle.cancel(owner);
          cancel(r, lock, 'ECANCELED', asts);
        } else {
          const asked = range(what, start, Math.min(length, bytes - start));
          const flags = wait ? 0 : bitsOf(['NOQUEUE']);
          const done = lockRange(r, lock, { range: asked, flags }, asts);
          expect(done.ok).toBe(!waits);
          if (waits) continue;
          expected = oracle.ask(owner, asked, wait);
        }
        operations += 1;
        const told = asts.map((a) => `${a.lock.lkid} ${a.type === 'refused' ? a.errno : a.type}`);
        expect(told).toEqual(expected);
        if (told.some((t) => t.endsWith('EDEADLK'))) stuck += 1;
        const has = (id: number, at: number) =>
          (r.ranges?.held.get(id) ?? []).find((s) => s.start <= at && at < s.end);
        for (let at = 0; at < bytes; at++)
          for (const id of locks.keys())
            expect(has(id, at)?.write).toBe(oracle.cells[at]?.find((c) => c.owner === id)?.write);
      }
    }),
    { numRuns: 200 },
  );
  expect(operations).toBeGreaterThan(1_000);
  expect(stuck).toBeGreaterThan(0);
});

let cluster: Cluster;
beforeEach(async () => {
  cluster = new Cluster();
  await cluster.start(1, 2, 3);
});
afterEach(() => cluster.stop());

const errno = async (reply: Promise<{ ok: boolean; errno?: string }>) => (await reply).errno;
/** An owner of ranges of a file: its lock is `ref`. */
async function owner(client: Client, ref: number, file: string, xid?: string) {
  const q = { resource: file, mode: 'NL' as const, ...(xid && { xid }) };
  await client.lock(ref, q);
  return (wanted: LockRange, extra: object = {}) =>
    client.lock(ref, { ...q, range: wanted, ...extra });
}
const waiting = async (n: number): Promise<boolean> => {
  let found = 0;
  for (const num of cluster.nodes.keys())
    for (const r of await cluster.list(num))
      found += (r.ranges ?? []).filter((x) => x.waits).length;
  return found === n;
};
const left = async (): Promise<number> => {
  let n = 0;
  for (const num of cluster.nodes.keys()) {
    const { locks = 0, mastered = 0 } = await cluster.counters(num);
    n += locks + mastered;
  }
  return n;
};

describe('DLM: byte ranges: three nodes', () => {
  test('apart they go beside each other; over each other they wait, and wake in order', async () => {
    const [a, b, c] = [await cluster.client(1), await cluster.client(2), await cluster.client(3)];
    const [x, y, z] = [await owner(a, 1, 'f'), await owner(b, 1, 'f'), await owner(c, 1, 'f')];
    expect((await x(range('write', 0, 10))).ok).toBe(true);
    expect((await y(range('write', 10, 10))).ok).toBe(true);
    expect(await errno(y(range('read', 9, 1), { flags: ['NOQUEUE'] }))).toBe('EAGAIN');
    const order: string[] = [];
    const second = y(range('write', 5, 1)).then(() => order.push('y'));
    await until('y waits', () => waiting(1));
    const third = z(range('write', 5, 1)).then(() => order.push('z'));
    await until('z waits', () => waiting(2));
    await x(range('none', 0, 0));
    await second;
    expect(await waiting(1)).toBe(true);
    await y(range('none', 5, 1));
    await third;
    expect(order).toEqual(['y', 'z']);
    // What is in the way, as F_GETLK tells it.
    const found = await x(range('write', 0, 0), { test: true });
    expect(found).toMatchObject({ value: { inTheWay: { type: 'write' } } });
    expect(await x(range('write', 100, 5), { test: true })).toMatchObject({ ok: true });
    for (const client of [a, b, c]) await client.close();
    expect(await left()).toBe(0);
  });

  test('EDEADLK at once on one file, found by the search over two, and not for OFD locks', async () => {
    const [a, b] = [await cluster.client(1), await cluster.client(2)];
    const x = await owner(a, 1, 'f', 'x');
    const y = await owner(b, 1, 'f', 'y');
    await x(range('write', 0, 1));
    await y(range('write', 1, 1));
    const waits = x(range('write', 1, 1));
    await until('x waits', () => waiting(1));
    expect(await errno(y(range('write', 0, 1)))).toBe('EDEADLK');
    await y(range('none', 0, 0));
    expect((await waits).ok).toBe(true);
    await x(range('none', 0, 0));

    const [x2, y2] = [await owner(a, 2, 'g', 'x'), await owner(b, 2, 'g', 'y')];
    await x(range('write', 0, 1));
    await y2(range('write', 0, 1));
    const [first, other] = [x2(range('write', 0, 1)), y(range('write', 0, 1))];
    const ended = await Promise.race([first, other]);
    expect(ended).toMatchObject({ errno: 'EDEADLK' });

    const [o, p] = [await owner(a, 3, 'h'), await owner(b, 3, 'h')];
    const flags = ['NODLCKWT' as const];
    await o(range('write', 0, 1));
    await p(range('write', 1, 1));
    void o(range('write', 1, 1), { flags });
    const ofd = p(range('write', 0, 1), { flags, waitMs: 300 });
    expect(await errno(ofd)).toBe('ETIMEDOUT');
    await Promise.all([a.close(), b.close()]);
    expect(await left()).toBe(0);
  });

  test('a new master knows the ranges, and who waited still does', async () => {
    const [a, b, first] = [
      await cluster.client(1),
      await cluster.client(2),
      await cluster.client(3),
    ];
    await first.lock(1, { resource: 'f', mode: 'NL' });
    const [x, y] = [await owner(a, 1, 'f'), await owner(b, 1, 'f')];
    await x(range('write', 0, 10));
    const waits = y(range('read', 5, 10));
    await until('y waits', () => waiting(1));
    await cluster.kill(3);
    expect(await errno(y(range('read', 0, 1)))).toBe('EBUSY');
    await until('y waits at the new one', () => waiting(1));
    await x(range('none', 0, 8));
    expect(await waiting(1)).toBe(true);
    await x(range('none', 8, 2));
    expect((await waits).ok).toBe(true);
    expect(await errno(x(range('write', 14, 1), { flags: ['NOQUEUE'] }))).toBe('EAGAIN');
  });

  test('each bad input its errno; a cancelled wait keeps what was held', async () => {
    const [a, b] = [await cluster.client(1), await cluster.client(2)];
    const bare = { resource: 'f', mode: 'NL' as const, range: range('write', 0, 1) };
    expect(await errno(a.lock(1, bare))).toBe('EINVAL');
    await a.lock(2, { resource: 'e', mode: 'PR' });
    expect(await errno(a.lock(2, { ...bare, resource: 'e', mode: 'PR' }))).toBe('EINVAL');
    const [x, y] = [await owner(a, 3, 'f'), await owner(b, 3, 'f')];
    expect(await errno(x(range('write', -1, 1)))).toBe('EBADMSG');
    await x(range('write', 0, 5));
    await y(range('read', 8, 2));
    const waits = y(range('write', 0, 10));
    await until('y waits', () => waiting(1));
    expect((await b.cancel(3)).ok).toBe(true);
    expect(await errno(waits)).toBe('ECANCELED');
    expect(await errno(x(range('write', 9, 1), { flags: ['NOQUEUE'] }))).toBe('EAGAIN');
    await Promise.all([a.close(), b.close()]);
    expect(await left()).toBe(0);
  });
});
