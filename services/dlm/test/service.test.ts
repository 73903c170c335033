// Lock managers of three nodes in one process.
import { directoryOf, keyOf } from '@ssi/contracts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Cluster, until } from './cluster.ts';

let cluster: Cluster;
beforeEach(async () => {
  cluster = new Cluster();
  await cluster.start(1, 2, 3);
});
afterEach(() => cluster.stop());

/** A resource whose directory is that node. */
function resourceOf(directory: number): string {
  for (let i = 0; ; i++)
    if (directoryOf(cluster.view(), keyOf('ls', `r${i}`)) === directory) return `r${i}`;
}

const locksLeft = async (): Promise<number> => {
  let n = 0;
  for (const num of cluster.nodes.keys()) {
    const { locks, mastered } = await cluster.counters(num);
    n += (locks ?? 0) + (mastered ?? 0);
  }
  return n;
};

describe('DLM: service', () => {
  test('a lock is granted with a token, in order, over nodes', async () => {
    const resource = resourceOf(3);
    const [a, b] = [await cluster.client(1), await cluster.client(2)];
    const first = await a.lock(1, { resource, bast: true });
    expect(first).toMatchObject({ ok: true, value: { mode: 'EX' } });
    const second = b.lock(1, { resource });
    await until('the holder hears of it', () => a.blocking.includes('1 EX'));
    expect(await a.unlock(1)).toEqual({ ok: true, value: {} });
    const granted = await second;
    if (!first.ok || !granted.ok) throw new Error('not granted');
    expect(BigInt(granted.value.token ?? 0)).toBeGreaterThan(BigInt(first.value.token ?? 0));
    expect((await cluster.list(1))[0]).toMatchObject({ resource, master: 1 });
    await b.unlock(1);
    expect(await locksLeft()).toBe(0);
  });

  test('after the first lock of a resource nothing leaves the node', async () => {
    const resource = resourceOf(2);
    const a = await cluster.client(1);
    await a.lock(1, { resource });
    expect(cluster.sent.filter((m) => m.startsWith('1 lookup'))).toEqual(['1 lookup 2']);
    cluster.sent.length = 0;
    for (let ref = 2; ref < 50; ref++) {
      await a.unlock(ref - 1);
      expect((await a.lock(ref, { resource })).ok).toBe(true);
    }
    expect(cluster.sent).toEqual([]);
    // From elsewhere: one question to the directory, one to the master.
    const c = await cluster.client(3);
    await c.lock(1, { resource, mode: 'NL', flags: ['EXPEDITE'] });
    await c.lock(2, { resource, mode: 'NL', flags: ['EXPEDITE'] });
    expect(cluster.sent).toEqual(['3 lookup 2', '3 ask 1', '3 ask 1']);
  });

  test('a value block goes from writer to reader', async () => {
    const [a, b] = [await cluster.client(1), await cluster.client(2)];
    const resource = resourceOf(2);
    const flags = ['VALBLK' as const];
    await a.lock(1, { resource, flags });
    await a.lock(1, { resource, mode: 'CR', flags, value: Buffer.from('hello') });
    const read = await b.lock(1, { resource, mode: 'PR', flags });
    expect(read.ok && Buffer.from(read.value.value ?? []).toString('utf8', 0, 5)).toBe('hello');
    expect(read.ok && read.value.valueInvalid).toBe(false);
  });

  test('each bad input its errno', async () => {
    const a = await cluster.client(1);
    const resource = resourceOf(1);
    const errno = async (reply: Promise<{ ok: boolean; errno?: string }>) => (await reply).errno;
    expect(await errno(a.lock(1, { resource: 'x'.repeat(65) }))).toBe('EBADMSG');
    expect(await errno(a.lock(2, { resource, op: 2 }))).toBe('ENOENT');
    expect(await errno(a.lock(3, { resource, flags: ['QUECVT'] }))).toBe('EINVAL');
    expect(await errno(a.unlock(9))).toBe('ENOENT');
    await a.lock(5, { resource });
    expect(await errno(a.lock(6, { resource, flags: ['NOQUEUE'] }))).toBe('EAGAIN');
    expect(await errno(a.lock(7, { resource, waitMs: 30 }))).toBe('ETIMEDOUT');
    const waits = a.lock(8, { resource });
    await until('it waits', async () => (await cluster.list(1))[0]?.waiting.length === 1);
    expect(await errno(a.lock(8, { resource, mode: 'NL' }))).toBe('EBUSY');
    expect(await errno(a.unlock(8))).toBe('EBUSY');
    expect(await errno(a.cancel(5))).toBe('EBUSY');
    expect(await a.cancel(8)).toEqual({ ok: true, value: {} });
    expect(await errno(waits)).toBe('ECANCELED');
    const stranger = await cluster.client(2);
    expect(await errno(stranger.unlock(5))).toBe('ENOENT');
    await stranger.close();
    await a.close();
    expect(await locksLeft()).toBe(0);
  });

  test('EDEADLK: two conversions that wait for each other, over nodes', async () => {
    const [a, b] = [await cluster.client(1), await cluster.client(2)];
    const resource = resourceOf(3);
    await a.lock(1, { resource, mode: 'PR' });
    await b.lock(1, { resource, mode: 'PR' });
    const first = a.lock(1, { resource, mode: 'EX' });
    await until('it waits', async () => (await cluster.list(1))[0]?.converting.length === 1);
    expect(await b.lock(1, { resource, mode: 'EX' })).toMatchObject({ errno: 'EDEADLK' });
    await b.unlock(1);
    expect((await first).ok).toBe(true);
  });

  test('a client that ends while it waits leaves nothing', async () => {
    const [a, b] = [await cluster.client(1), await cluster.client(2)];
    const resource = resourceOf(3);
    await a.lock(1, { resource });
    void b.lock(1, { resource });
    await until('it waits', async () => (await cluster.list(1))[0]?.waiting.length === 1);
    await b.close();
    expect((await cluster.list(1))[0]?.waiting).toEqual([]);
    await a.close();
    expect(await locksLeft()).toBe(0);
  });

  test('20 clients on 3 nodes: never two at once, tokens only grow, nothing left', async () => {
    const resource = resourceOf(2);
    let inside = 0;
    let most = 0;
    let last = 0n;
    const clients = await Promise.all(
      Array.from({ length: 20 }, (_, i) => cluster.client(1 + (i % 3))),
    );
    await Promise.all(
      clients.map(async (client) => {
        for (let ref = 1; ref <= 10; ref++) {
          const reply = await client.lock(ref, { resource });
          if (!reply.ok) throw new Error(reply.detail);
          most = Math.max(most, ++inside);
          const token = BigInt(reply.value.token ?? 0);
          expect(token > last).toBe(true);
          last = token;
          await new Promise((done) => setTimeout(done, 0));
          inside--;
          await client.unlock(ref);
        }
      }),
    );
    expect(most).toBe(1);
    expect(await locksLeft()).toBe(0);
  });
});
