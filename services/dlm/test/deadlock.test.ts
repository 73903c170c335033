// Deadlocks over several resources: every real one is broken, and nobody gives way who is not in one. The
// oracle is naive: it plays each transaction to its end as long as any can go on.
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { confirmed, type SeenResource, victims, waitsAt } from '../src/deadlock.ts';
import { bitsOf } from '../src/index.ts';
import { type Client, Cluster, until } from './cluster.ts';
import { type Mode, Oracle } from './oracle.ts';

type Seen = SeenResource['granted'][number];
const lock = (lkid: number, q: Partial<Seen>): Seen => ({
  ...{ lkid, op: 1, flags: 0, waitedMs: 0 },
  ...q,
});
const held = (lkid: number, xid: string): Seen => lock(lkid, { xid, held: 'EX' });
const asks = (lkid: number, xid: string, waitedMs = 0, flags = 0): Seen =>
  lock(lkid, { xid, requested: 'EX', waitedMs, flags });
const resource = (key: string, granted: Seen[], waiting: Seen[]): SeenResource => ({
  ...{ key: `ls/${key}`, granted, converting: [], waiting },
});
const circle = (flags = 0) => [
  resource('a', [held(1, 'x')], [asks(2, 'y', 9, flags)]),
  resource('b', [held(3, 'y')], [asks(4, 'x', 5)]),
];
const chosen = (resources: SeenResource[]) => victims(waitsAt(1, resources)).map((v) => v.lkid);

describe('DLM: deadlock: what was seen', () => {
  test('of two that wait for each other the one gives way that has waited less', () => {
    expect(chosen(circle())).toEqual([4]);
  });
  test('a chain is no circle', () => {
    expect(chosen(circle().slice(0, 1))).toEqual([]);
  });
  test('one with NODLCKWT is no victim, and makes no other one', () => {
    expect(chosen(circle(bitsOf(['NODLCKWT'])))).toEqual([]);
  });
  test('a transaction that waits for itself is a circle', () => {
    expect(chosen([resource('a', [held(1, 'x')], [asks(2, 'x')])])).toEqual([2]);
  });
  test('locks without xid are each alone: one task of a program may go on while another waits', () => {
    const bare = circle().map((r) => ({
      ...r,
      granted: r.granted.map(({ xid, ...rest }) => rest),
      waiting: r.waiting.map(({ xid, ...rest }) => rest),
    }));
    expect(chosen(bare)).toEqual([]);
  });
  test('who is before it in the queue is waited for too', () => {
    const seen = [
      resource(
        'a',
        [lock(1, { held: 'PR' })],
        [asks(2, 'y'), lock(3, { xid: 'x', requested: 'PR' })],
      ),
      resource('b', [held(4, 'x')], [lock(5, { xid: 'y', requested: 'EX', waitedMs: 7 })]),
    ];
    expect(chosen(seen)).toEqual([3]);
    const [a, b] = seen;
    const passes = a?.waiting.map((l) => (l.lkid === 3 ? { ...l, flags: bitsOf(['NOORDER']) } : l));
    expect(chosen([{ ...a, waiting: passes } as SeenResource, b as SeenResource])).toEqual([]);
  });
  test('a wait with an alternative is none where that could be had', () => {
    const readers = circle(bitsOf(['ALTPR'])).map((r) => ({
      ...r,
      granted: r.granted.map((l) => ({ ...l, held: 'PR' as const })),
    }));
    expect(chosen(readers)).toEqual([]);
    expect(chosen(circle(bitsOf(['ALTPR'])))).toEqual([4]);
  });
  test('a circle that was never there at one time is not confirmed', () => {
    const [a, b] = circle().map((r) => waitsAt(1, [r]));
    if (!a || !b) throw new Error();
    // Seen one after the other: by the time of the second the first lock had been given on.
    const later = waitsAt(1, [resource('a', [held(9, 'x')], [asks(2, 'y')])]);
    expect(victims([...a, ...b])).toHaveLength(1);
    expect(victims(confirmed([...a, ...b], [...later, ...b]))).toEqual([]);
    expect(victims(confirmed([...a, ...b], [...a, ...b]))).toHaveLength(1);
  });
});

const nodes = [1, 2, 3];
let cluster: Cluster;
const clients = new Map<number, Client>();
beforeEach(async () => {
  cluster = new Cluster();
  await cluster.start(...nodes);
  for (const num of nodes) clients.set(num, await cluster.client(num));
});
afterEach(() => cluster.stop());

interface Transaction {
  readonly node: number;
  readonly holds: readonly { readonly on: number; readonly mode: Mode }[];
  readonly wants: { readonly on: number; readonly mode: Mode };
}

/** Locks of transaction i at a resource: its first one 2i, the one it comes to want 2i + 1. */
class Model {
  readonly #oracles = new Map<number, Oracle>();
  readonly #all: readonly Transaction[];
  readonly ended = new Set<number>();

  constructor(all: readonly Transaction[]) {
    this.#all = all;
  }
  #at(on: number): Oracle {
    const oracle = this.#oracles.get(on) ?? new Oracle();
    this.#oracles.set(on, oracle);
    return oracle;
  }
  holds(i: number, on: number, mode: Mode): boolean {
    const got = this.#at(on).request(2 * i, mode, ['NOQUEUE']);
    return got.some((o) => o.id === 2 * i && o.status === 'granted');
  }
  wants(i: number): void {
    const { on, mode } = (this.#all[i] as Transaction).wants;
    this.#at(on).request(2 * i + 1, mode);
  }
  #end(i: number): void {
    this.ended.add(i);
    for (const oracle of this.#oracles.values())
      for (const id of [2 * i, 2 * i + 1])
        if (oracle.state().some((s) => s.id === id)) oracle.unlock(id);
  }
  /** Ends whoever can go on, until nobody can: the others are stuck. */
  stuck(): number[] {
    for (;;) {
      const alive = this.#all.map((_, i) => i).filter((i) => !this.ended.has(i));
      const free = alive.find((i) => {
        const { on } = (this.#all[i] as Transaction).wants;
        return this.#at(on)
          .state()
          .some((s) => s.id === 2 * i + 1 && s.held);
      });
      if (free === undefined) return alive;
      this.#end(free);
    }
  }
  givesWay(i: number): void {
    this.#end(i);
  }
}

const mode = fc.constantFrom<Mode>('PR', 'EX', 'EX');
const wish = fc.record({ on: fc.nat({ max: 4 }), mode });
const transaction = fc.record({
  node: fc.constantFrom(...nodes),
  holds: fc.uniqueArray(wish, { minLength: 1, maxLength: 2, selector: (w) => w.on }),
  wants: wish,
});

let runs = 0;
async function play(all: readonly Transaction[]): Promise<number> {
  const run = ++runs;
  const model = new Model(all);
  const name = (on: number) => `${run}.${on}`;
  let lastRef = 1_000 * run;
  const refs = all.map((): number[] => []);
  const client = (i: number) => clients.get((all[i] as Transaction).node) as Client;
  const ask = (i: number, { on, mode }: { on: number; mode: Mode }, wait: boolean) => {
    const ref = ++lastRef;
    refs[i]?.push(ref);
    const flags = wait ? [] : ['NOQUEUE' as const];
    const q = { resource: name(on), mode, flags, xid: `${run}.${i}` };
    return client(i)
      .lock(ref, q)
      .then((reply) => {
        if (!reply.ok) refs[i]?.splice(refs[i]?.indexOf(ref) ?? 0, 1);
        return reply;
      });
  };
  for (const [i, { holds }] of all.entries())
    for (const hold of holds) {
      const reply = await ask(i, hold, false);
      expect(reply.ok).toBe(model.holds(i, hold.on, hold.mode));
    }
  let found = 0;
  // One after the other, so that the order of the queues is known; nobody gives anything up before all have asked.
  const asked = Promise.withResolvers<void>();
  const ends: Promise<void>[] = [];
  for (const [i, { wants }] of all.entries()) {
    let over = false;
    const reply = ask(i, wants, true).then((r) => {
      over = true;
      return r;
    });
    model.wants(i);
    ends.push(
      reply.then(async (r) => {
        await asked.promise;
        if (!r.ok) {
          expect(r.errno).toBe('EDEADLK');
          expect(model.stuck()).toContain(i);
          model.givesWay(i);
          found += 1;
        }
        for (const ref of [...(refs[i] ?? [])]) await client(i).unlock(ref);
      }),
    );
    await until('it has asked', async () => over || (await waits(`${run}.${i}`)));
  }
  asked.resolve();
  await Promise.all(ends);
  expect(model.stuck()).toEqual([]);
  return found;
}

async function waits(xid: string): Promise<boolean> {
  for (const num of nodes)
    for (const r of await cluster.list(num)) if (r.waiting.some((l) => l.xid === xid)) return true;
  return false;
}

describe('DLM: deadlock: three nodes', () => {
  test('transactions at random: each deadlock is broken, nobody else gives way', async () => {
    let found = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(transaction, { minLength: 2, maxLength: 7 }), async (all) => {
        found += await play(all);
      }),
      { numRuns: 25, seed: 4, endOnFailure: true },
    );
    expect(found).toBeGreaterThan(5);
    const counted = await Promise.all(nodes.map((num) => cluster.counters(num)));
    expect(counted.reduce((n, c) => n + (c.deadlockFinds ?? 0), 0)).toBe(found);
    expect(counted.reduce((n, c) => n + (c.locks ?? 0) + (c.mastered ?? 0), 0)).toBe(0);
  }, 60_000);

  test('a circle over three nodes and three resources has one victim, whoever began', async () => {
    const all = nodes.map((node, i) => ({
      ...{ node, holds: [{ on: i, mode: 'EX' as const }] },
      wants: { on: (i + 1) % 3, mode: 'EX' as const },
    }));
    expect(await play(all)).toBe(1);
  });
});
