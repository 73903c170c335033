// Locks as a program has them, on an embedded cluster of three nodes with their real memberships.
import {
  createLockspace,
  lsConvertWait,
  lsLock,
  lsLockWait,
  lsPurge,
  lsUnlock,
  lsUnlockWait,
  openRanges,
  releaseLockspace,
  withLock,
} from '@ssi/client';
import type { Reply } from '@ssi/contracts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createEmbeddedCluster, type EmbeddedCluster } from '../src/index.ts';

let cluster: EmbeddedCluster;
beforeAll(async () => {
  cluster = await createEmbeddedCluster({ nodes: 3 });
  expect((await cluster.up(20_000)).ok).toBe(true);
});
afterAll(() => cluster?.close());

function value<T>(reply: Reply<T>): T {
  if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
  return reply.value;
}

describe('locks: the client', () => {
  test('withLock: one at a time, over nodes, each with a greater token', async () => {
    const tokens: string[] = [];
    let inside = 0;
    const work = async (node: number): Promise<void> => {
      const done = await withLock(
        cluster.ssi,
        { lockspace: 'test', resource: 'one' },
        async (lock) => {
          expect(++inside).toBe(1);
          tokens.push(lock.token ?? '');
          await new Promise((next) => setTimeout(next, 2));
          inside--;
        },
        { node },
      );
      value(done);
    };
    await Promise.all([1, 2, 3, 1, 2, 3].map(work));
    expect(tokens).toHaveLength(6);
    expect(tokens.map(BigInt)).toEqual(
      [...new Set(tokens.map(BigInt))].sort((a, b) => (a < b ? -1 : 1)),
    );
  });

  test('blocking AST, conversion, cancel by a signal, time given, NOQUEUE', async () => {
    const a = value(await createLockspace(cluster.ssi, 'test', { node: 1, label: 'a' }));
    const b = value(await createLockspace(cluster.ssi, 'test', { node: 2, label: 'b' }));
    const blocked = Promise.withResolvers<string>();
    const held = value(await lsLockWait(a, 'two', 'PR', { onBlocking: blocked.resolve }));
    const outcome = Promise.withResolvers<Reply<unknown>>();
    lsLock(b, 'two', 'EX', outcome.resolve);
    expect(await blocked.promise).toBe('EX');
    const listed = value(await cluster.ssi.locks('test')).resources.find(
      (r) => r.resource === 'two',
    );
    expect(listed).toMatchObject({
      granted: [{ label: 'a', granted: 'PR' }],
      waiting: [{ label: 'b' }],
    });
    value(await lsConvertWait(a, held, 'NL'));
    expect(await outcome.promise).toMatchObject({ ok: true, value: { mode: 'EX' } });
    expect(await a.lock('two', 'CR', { flags: ['NOQUEUE'] })).toMatchObject({ errno: 'EAGAIN' });
    expect(await a.lock('two', 'CR', { timeoutMs: 20 })).toMatchObject({ errno: 'ETIMEDOUT' });
    const abort = new AbortController();
    const waits = a.lock('two', 'CR', { signal: abort.signal });
    abort.abort();
    expect(await waits).toMatchObject({ errno: 'ECANCELED' });
    value(await lsUnlock(a, held));
    await Promise.all([a.close(), b.close()]);
    expect(value(await cluster.ssi.locks('test')).resources).toEqual([]);
  });

  test('a node dies: its lockspaces are lost, who waited for them goes on', async () => {
    const ssi = await cluster.client();
    const c = value(await createLockspace(ssi, 'test', { node: 3 }));
    const a = value(await createLockspace(cluster.ssi, 'test', { node: 1 }));
    const held = value(await c.lock('three', 'EX'));
    const waits = a.lock('three', 'EX');
    await cluster.killNode(3);
    const got = value(await waits);
    expect(got.valueInvalid).toBe(true);
    expect(BigInt(got.token ?? 0) > BigInt(held.token ?? 0)).toBe(true);
    await new Promise<void>((done) => {
      if (c.lost.aborted) done();
      else c.lost.addEventListener('abort', () => done());
    });
    expect(await c.lock('three', 'NL')).toMatchObject({ errno: 'ESRCH' });
    await cluster.startNode(3);
    expect((await cluster.up(20_000)).ok).toBe(true);
    const again = value(await createLockspace(cluster.ssi, 'test', { node: 3 }));
    expect(await again.lock('three', 'CR', { flags: ['NOQUEUE'] })).toMatchObject({
      errno: 'EAGAIN',
    });
    await Promise.all([a.close(), again.close(), c.close()]);
  });

  test('a node that was excluded comes back: its lock manager begins anew and serves', async () => {
    const ssi = await cluster.client();
    const c = value(await createLockspace(ssi, 'test', { node: 2 }));
    const a = value(await createLockspace(cluster.ssi, 'test', { node: 1 }));
    const held = value(await c.lock('four', 'EX'));
    const boots = value(await ssi.view()).members.find((m) => m.num === 2)?.incarnation.bootCount;
    // Silent for the others, while its lock manager runs on.
    await cluster.killService(2, 'membership');
    const got = value(await a.lock('four', 'EX'));
    expect(BigInt(got.token ?? 0) > BigInt(held.token ?? 0)).toBe(true);
    await cluster.startService(2, 'membership');
    expect((await cluster.up(20_000)).ok).toBe(true);
    const again = value(await createLockspace(cluster.ssi, 'test', { node: 2 }));
    const life = value(await ssi.view()).members.find((m) => m.num === 2)?.incarnation.bootCount;
    expect(life).toBeGreaterThan(boots ?? 0);
    expect(c.lost.aborted || !(await c.lock('five', 'NL')).ok).toBe(true);
    expect(await again.lock('four', 'CR', { flags: ['NOQUEUE'] })).toMatchObject({
      errno: 'EAGAIN',
    });
    await Promise.all([a.close(), again.close(), c.close()]);
  });
});

describe('locks: the client: owners, trees, ranges', () => {
  test('a lockspace with locks is released by force only; a PERSISTENT lock is adopted, or purged', async () => {
    const a = value(await createLockspace(cluster.ssi, 'left', { node: 1 }));
    value(await lsLockWait(a, 'kept', 'EX', { flags: ['PERSISTENT'] }));
    expect(await releaseLockspace(a)).toMatchObject({ errno: 'EBUSY' });
    value(await releaseLockspace(a, true));
    const b = value(await createLockspace(cluster.ssi, 'left', { node: 1 }));
    const [left] = value(await cluster.ssi.locks('left')).resources;
    expect(left?.granted[0]?.orphan).toBe(true);
    const adopted = value(await lsLockWait(b, 'kept', 'EX', { flags: ['ORPHAN'] }));
    value(await lsUnlockWait(b, adopted));
    value(await lsLockWait(b, 'kept', 'EX', { flags: ['PERSISTENT'] }));
    await b.close();
    const c = value(await createLockspace(cluster.ssi, 'left', { node: 2 }));
    expect(value(await lsPurge(c))).toBe(0);
    expect(value(await lsPurge(c, 1))).toBe(1);
    value(await releaseLockspace(c));
  });

  test('two transactions that wait for each other: one gets EDEADLK, the other both locks', async () => {
    const a = value(await createLockspace(cluster.ssi, 'test', { node: 1, xid: 'a' }));
    const b = value(await createLockspace(cluster.ssi, 'test', { node: 2, xid: 'b' }));
    const own = [value(await a.lock('left', 'EX')), value(await b.lock('right', 'EX'))];
    const [x, y] = [a.lock('right', 'EX'), b.lock('left', 'EX')];
    const first = await Promise.race([
      x.then((r) => [r, a, own[0]] as const),
      y.then((r) => [r, b, own[1]] as const),
    ]);
    expect(first[0]).toMatchObject({ errno: 'EDEADLK' });
    if (first[2]) value(await first[1].unlock(first[2]));
    expect([await x, await y].filter((r) => r.ok)).toHaveLength(1);
    await Promise.all([a.close(), b.close()]);
  });

  test('byte ranges of two owners, and a lock under another', async () => {
    const a = value(await createLockspace(cluster.ssi, 'test', { node: 1 }));
    const b = value(await createLockspace(cluster.ssi, 'test', { node: 3 }));
    const x = value(await openRanges(a, 'file', { xid: 'p1' }));
    const y = value(await openRanges(b, 'file', { ofd: true }));
    value(await x.set({ type: 'write', start: 0, length: 100 }));
    const wish = { type: 'read', start: 50, length: 0 } as const;
    expect(await y.set(wish, { noqueue: true })).toMatchObject({ errno: 'EAGAIN' });
    expect(value(await y.test(wish))).toMatchObject({ type: 'write', start: 0, length: 100 });
    const waits = y.set(wish);
    value(await x.set({ type: 'none', start: 50, length: 50 }));
    value(await waits);
    value(await x.close());
    const top = value(await a.lock('top', 'CR'));
    value(await a.lock('leaf', 'EX', { parent: top }));
    expect(await a.unlock(top)).toMatchObject({ errno: 'EBUSY' });
    value(await a.unlock(top, { force: true }));
    await Promise.all([a.close(), b.close()]);
  });
});
