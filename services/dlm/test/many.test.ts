// Many waiters on one resource, through the whole service: each gets its turn or its errno, and nothing of
// them is left. What 100,000 in one queue cost is in grant.test.ts.
import { afterEach, expect, test } from 'vitest';
import { Cluster, until } from './cluster.ts';

const waiters = 1_000;
let cluster: Cluster;
afterEach(() => cluster.stop());

test('DLM: 1,000 wait for one resource: others are served meanwhile, each ends, none is left', async () => {
  cluster = new Cluster();
  await cluster.start(1);
  const [holder, crowd, dies] = [
    await cluster.client(1),
    await cluster.client(1),
    await cluster.client(1),
  ];
  expect((await holder.lock(1, { resource: 'r' })).ok).toBe(true);
  const ends: Record<string, number> = {};
  const all = Array.from({ length: waiters }, async (_, i) => {
    const client = i % 10 === 0 ? dies : crowd;
    const reply = await client.lock(i + 1, { resource: 'r', mode: 'PR' }, 60_000);
    const end = reply.ok ? 'granted' : reply.errno;
    ends[end] = (ends[end] ?? 0) + 1;
  });
  const waiting = async () => ((await cluster.counters(1)).mastered ?? 0) - 1;
  await until('all wait', async () => (await waiting()) === waiters, 30_000);
  expect((await holder.lock(2, { resource: 'other' })).ok).toBe(true);
  await holder.unlock(2);
  // One of the middle, the first; and the tenth that belongs to a client which ends.
  expect((await crowd.cancel(waiters / 2)).ok).toBe(true);
  expect((await crowd.cancel(2)).ok).toBe(true);
  void dies.end();
  await until(
    'its waiters end',
    async () => (await waiting()) <= waiters - 2 - waiters / 10,
    30_000,
  );
  await holder.unlock(1);
  await Promise.all(all);
  expect(ends).toEqual({ granted: waiters - 2 - waiters / 10, ECANCELED: 2 + waiters / 10 });
  await Promise.all([holder.close(), crowd.close()]);
  const { locks, mastered, sessions } = await cluster.counters(1);
  expect([locks, mastered, sessions]).toEqual([0, 0, 0]);
}, 90_000);
