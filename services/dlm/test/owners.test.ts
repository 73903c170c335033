// Locks go with the process they belong to, as soon as vproc knows of its end.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Cluster } from './cluster.ts';

let cluster: Cluster;
beforeEach(async () => {
  cluster = new Cluster();
  await cluster.start(1, 2);
});
afterEach(() => cluster.stop());

const pid = 2 * 65_536 + 7;

describe('DLM: the process that locks belong to', () => {
  test('its end gives them up at once, wherever its origin is', async () => {
    const ends = Promise.withResolvers<void>();
    cluster.programs.set(pid, ends);
    const owner = await cluster.client(1, pid);
    expect((await owner.lock(1, { resource: 'r' })).ok).toBe(true);
    const next = (await cluster.client(2)).lock(1, { resource: 'r' });
    const began = performance.now();
    ends.resolve();
    expect((await next).ok).toBe(true);
    // A session that is only not heard of any more would last for 10 s.
    expect(performance.now() - began).toBeLessThan(5_000);
    await expect.poll(() => owner.over).toBe('ESRCH');
  });

  test('a process of which vproc knows may be silent for longer than one of which it does not', async () => {
    cluster.programs.set(pid, Promise.withResolvers<void>());
    const known = await cluster.client(1, pid);
    const unknown = await cluster.client(1, pid + 1);
    await expect.poll(() => unknown.sessionMs, { timeout: 5_000 }).toBe(10_000);
    await expect.poll(() => known.sessionMs, { timeout: 5_000 }).toBe(120_000);
  });

  test('a number that is nobody of the cluster says nothing', async () => {
    const owner = await cluster.client(1, pid);
    expect((await owner.lock(1, { resource: 'r' })).ok).toBe(true);
    const other = await cluster.client(2);
    expect(await other.lock(1, { resource: 'r', waitMs: 500 })).toMatchObject({
      errno: 'ETIMEDOUT',
    });
    expect(owner.over).toBeUndefined();
  });
});
