// Locks as a program has them, on an embedded cluster of three nodes with their real memberships.
import {
  createFence,
  createLockspace,
  lsConvertWait,
  lsLock,
  lsLockWait,
  lsUnlock,
  withLock,
} from '@ssi/client';
import { ok, type Reply } from '@ssi/contracts';
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
  test('withLock: one at a time, over nodes, each with a greater token; a fence refuses an older one', async () => {
    const fence = createFence();
    const tokens: string[] = [];
    let inside = 0;
    const work = async (node: number): Promise<void> => {
      const done = await withLock(
        cluster.ssi,
        { lockspace: 'test', resource: 'one' },
        async (lock) => {
          expect(++inside).toBe(1);
          tokens.push(lock.token ?? '');
          expect(fence.check('one', lock.token ?? '')).toEqual(ok());
          await new Promise((next) => setTimeout(next, 2));
          inside--;
        },
        { node },
      );
      value(done);
    };
    await Promise.all([1, 2, 3, 1, 2, 3].map(work));
    expect(tokens).toHaveLength(6);
    expect(fence.check('one', tokens[0] ?? '')).toMatchObject({ errno: 'ESTALE' });
    expect(fence.check('one', '1x')).toMatchObject({ errno: 'EINVAL' });
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
});
