// What is lost and what is kept when a node dies, joins, or a lock manager is started again.
import { directoryOf, keyOf } from '@ssi/contracts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, Cluster, until } from './cluster.ts';

let cluster: Cluster;
beforeEach(async () => {
  cluster = new Cluster();
  await cluster.start(1, 2, 3);
});
afterEach(() => cluster.stop());

function resourceOf(directory: number, from = 0): string {
  for (let i = from; ; i++)
    if (directoryOf(cluster.view(), keyOf('ls', `r${i}`)) === directory) return `r${i}`;
}

const token = async (reply: ReturnType<Client['lock']>): Promise<bigint> => {
  const got = await reply;
  if (!got.ok) throw new Error(`${got.errno} ${got.detail}`);
  return BigInt(got.value.token ?? 0);
};

const waiting = (num: number, n: number) =>
  until('they wait', async () => {
    const all = await cluster.list(num);
    return all.reduce((sum, r) => sum + r.waiting.length + r.converting.length, 0) === n;
  });

describe('DLM: nodedown', () => {
  test('the dead holder is purged, the waiter granted with a greater token, the value not valid', async () => {
    const [a, b] = [await cluster.client(1), await cluster.client(3)];
    const resource = resourceOf(1);
    // Master: node 1, by a lock that stays.
    await a.lock(1, { resource, mode: 'NL' });
    const before = await token(b.lock(1, { resource }));
    const waits = a.lock(2, { resource, flags: ['VALBLK'] });
    await waiting(1, 1);
    await cluster.kill(3);
    const got = await waits;
    expect(got).toMatchObject({ ok: true, value: { mode: 'EX', valueInvalid: true } });
    expect(BigInt((got.ok && got.value.token) || 0) > before).toBe(true);
  });

  for (const directory of [1, 2, 3])
    test(`the master dies: holders keep their locks, waiters theirs (directory ${directory})`, async () => {
      const resource = resourceOf(directory);
      const [c, a, b] = [await cluster.client(3), await cluster.client(1), await cluster.client(2)];
      await c.lock(1, { resource, mode: 'NL' });
      expect((await cluster.list(3))[0]?.master).toBe(3);
      const flags = ['VALBLK' as const];
      const held = await token(a.lock(1, { resource, mode: 'EX', flags }));
      const waits = b.lock(1, { resource, mode: 'EX', flags });
      await waiting(3, 1);
      await cluster.kill(3);
      const master = directoryOf(cluster.view(), keyOf('ls', resource)) ?? 0;
      expect(master).not.toBe(3);
      // EX on node 1 is still there, so node 2 waits on.
      expect(await b.lock(2, { resource, flags: ['NOQUEUE'] })).toMatchObject({ errno: 'EAGAIN' });
      await a.unlock(1, { flags, value: Buffer.from('kept') });
      const got = await waits;
      expect(got).toMatchObject({ ok: true, value: { valueInvalid: false } });
      expect(got.ok && Buffer.from(got.value.value ?? []).toString('utf8', 0, 4)).toBe('kept');
      expect(BigInt((got.ok && got.value.token) || 0) > held).toBe(true);
    });

  test('a waiter whose master and holder die together is granted, the value not valid', async () => {
    const resource = resourceOf(1);
    const [c, b] = [await cluster.client(3), await cluster.client(2)];
    const before = await token(c.lock(1, { resource }));
    const waits = b.lock(1, { resource, flags: ['VALBLK'] });
    await waiting(3, 1);
    await cluster.kill(3);
    const got = await waits;
    expect(got).toMatchObject({ ok: true, value: { mode: 'EX', valueInvalid: true } });
    expect(BigInt((got.ok && got.value.token) || 0) > before).toBe(true);
  });

  test('1,000 resources of a dead master are there again, each with its holder', async () => {
    const [c, a] = [await cluster.client(3), await cluster.client(1)];
    const names = Array.from({ length: 1_000 }, (_, i) => `n${i}`);
    for (const [i, resource] of names.entries()) await c.lock(i + 1, { resource, mode: 'CR' });
    for (const [i, resource] of names.entries()) await a.lock(i + 1, { resource, mode: 'PR' });
    await cluster.kill(3);
    const b = await cluster.client(2);
    const tries = names.map((resource, i) => b.lock(i + 1, { resource, flags: ['NOQUEUE'] }));
    const errnos = new Set((await Promise.all(tries)).map((r) => (r.ok ? 'granted' : r.errno)));
    expect([...errnos]).toEqual(['EAGAIN']);
    const all = [...(await cluster.list(1)), ...(await cluster.list(2))];
    expect(all).toHaveLength(1_000);
  });

  test('two die one after the other; the third has all, and nothing is left in the end', async () => {
    const clients = [await cluster.client(1), await cluster.client(2), await cluster.client(3)];
    const resource = resourceOf(2);
    await clients[2]?.lock(1, { resource, mode: 'CR' });
    await clients[1]?.lock(1, { resource, mode: 'CR' });
    await clients[0]?.lock(1, { resource, mode: 'CR' });
    await Promise.all([cluster.kill(3), cluster.kill(2)]);
    expect((await cluster.list(1))[0]?.granted).toHaveLength(1);
    expect(await clients[0]?.lock(2, { resource, mode: 'PW' })).toMatchObject({ ok: true });
    await clients[0]?.close();
    expect(await cluster.counters(1)).toMatchObject({ locks: 0, mastered: 0 });
  });

  test('an excluded node that has not heard of it: its grants are behind those of its successors', async () => {
    const resource = resourceOf(1);
    const c = await cluster.client(3);
    const old = await token(c.lock(1, { resource }));
    await cluster.exclude(3).catch(() => {});
    const a = await cluster.client(1);
    expect((await token(a.lock(1, { resource }))) > old).toBe(true);
  });
});

describe('DLM: join', () => {
  test('a joining node takes its share of the directory; nobody loses anything', async () => {
    const a = await cluster.client(1);
    const names = Array.from({ length: 100 }, (_, i) => `n${i}`);
    for (const [i, resource] of names.entries()) await a.lock(i + 1, { resource, mode: 'PR' });
    await cluster.start(4);
    const d = await cluster.client(4);
    for (const [i, resource] of names.entries())
      expect(await d.lock(i + 1, { resource, flags: ['NOQUEUE'] })).toMatchObject({
        errno: 'EAGAIN',
      });
    expect((await cluster.counters(4)).directory).toBeGreaterThan(5);
  });

  test('a joiner that hears late: two nodes never become master of one resource', async () => {
    for (let i = 0; i < 20; i++) {
      const nums = [...cluster.nodes.keys()];
      const clients = await Promise.all(nums.map((num) => cluster.client(num)));
      const joining = i < 4 ? cluster.start(4 + i) : Promise.resolve();
      const got = await Promise.all(
        clients.map((c) => c.lock(1, { resource: `x${i}`, flags: ['NOQUEUE'] })),
      );
      await joining;
      expect(got.filter((r) => r.ok)).toHaveLength(1);
      await Promise.all(clients.map((c) => c.close()));
    }
  });
});

describe('DLM: restart of the service alone', () => {
  test('locks of other nodes that it was master of are kept', async () => {
    const [c, a, b] = [await cluster.client(3), await cluster.client(1), await cluster.client(2)];
    for (const directory of [1, 2, 3]) {
      const resource = resourceOf(directory);
      await c.lock(directory, { resource, mode: 'NL' });
      await a.lock(directory, { resource, mode: 'EX' });
    }
    await cluster.restart(3);
    for (const directory of [1, 2, 3]) {
      const resource = resourceOf(directory);
      expect(await b.lock(directory, { resource, flags: ['NOQUEUE'] })).toMatchObject({
        errno: 'EAGAIN',
      });
    }
  });

  test('its own clients are told, and what they held is free, with greater tokens', async () => {
    const [c, a] = [await cluster.client(3), await cluster.client(1)];
    const resource = resourceOf(3);
    const old = await token(c.lock(1, { resource }));
    await cluster.restart(3);
    expect((await token(a.lock(1, { resource }))) > old).toBe(true);
    await until('the client is told', () => c.over !== undefined);
  });

  test('tokens of a directory node do not come again in the same transid', async () => {
    const resource = resourceOf(3);
    const seen: bigint[] = [];
    for (let i = 0; i < 3; i++) {
      const a = await cluster.client(1);
      seen.push(await token(a.lock(1, { resource })));
      await a.close();
      await cluster.restart(3);
      await cluster.restart(1);
    }
    expect(seen).toEqual([...new Set(seen)].sort((x, y) => (x < y ? -1 : 1)));
  });
});
