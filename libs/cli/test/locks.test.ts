// Locks as a program has them, on an embedded cluster of three nodes with their real memberships.
import {
  createLockspace,
  lsConvertWait,
  lsLock,
  lsLockWait,
  lsUnlock,
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
