// Resources under resources. [VMS: $ENQ parid, $DEQ: SS$_SUBLOCKS, LCK$M_DEQALL]
import { lockDepthMax } from '@ssi/contracts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Cluster } from './cluster.ts';

let cluster: Cluster;
beforeEach(async () => {
  cluster = new Cluster();
  await cluster.start(1, 2);
});
afterEach(() => cluster.stop());

const errno = async (reply: Promise<{ ok: boolean; errno?: string }>) => (await reply).errno;
const left = async (): Promise<number> => {
  let n = 0;
  for (const num of [1, 2]) {
    const { locks = 0, mastered = 0 } = await cluster.counters(num);
    n += locks + mastered;
  }
  return n;
};

describe('DLM: trees', () => {
  test('the same name under two parents, and under none, is three resources', async () => {
    const [a, b] = [await cluster.client(1), await cluster.client(2)];
    await a.lock(1, { resource: 'red', mode: 'CR' });
    await a.lock(2, { resource: 'blue', mode: 'CR' });
    for (const [ref, parent] of [
      [3, 1],
      [4, 2],
      [5, undefined],
    ] as const) {
      const q = { resource: 'x', ...(parent && { parent }), flags: ['NOQUEUE' as const] };
      expect((await a.lock(ref, q)).ok).toBe(true);
    }
    // Another client reaches it by a lock of its own on the parent.
    await b.lock(1, { resource: 'red', mode: 'CR' });
    const q = { resource: 'x', parent: 1, flags: ['NOQUEUE' as const] };
    expect(await errno(b.lock(2, q))).toBe('EAGAIN');
    const paths = [...(await cluster.list(1)), ...(await cluster.list(2))].map((r) =>
      [...(r.parents ?? []), r.resource].join(' > '),
    );
    expect(paths.sort()).toEqual(['blue', 'blue > x', 'red', 'red > x', 'x']);
    await Promise.all([a.close(), b.close()]);
    expect(await left()).toBe(0);
  });

  test('a parent with locks under it is not given up, but by force with all of them', async () => {
    const a = await cluster.client(1);
    await a.lock(1, { resource: 'top' });
    await a.lock(2, { resource: 'middle', parent: 1 });
    await a.lock(3, { resource: 'low', parent: 2 });
    expect(await errno(a.unlock(1))).toBe('EBUSY');
    expect(await errno(a.unlock(2))).toBe('EBUSY');
    expect((await a.lock(1, { resource: 'top', mode: 'NL' })).ok).toBe(true);
    expect((await a.unlock(3)).ok).toBe(true);
    expect((await a.unlock(2)).ok).toBe(true);
    await a.lock(4, { resource: 'middle', parent: 1 });
    await a.lock(5, { resource: 'low', parent: 4 });
    expect((await a.unlock(1, { force: true })).ok).toBe(true);
    expect(await errno(a.unlock(5))).toBe('ENOENT');
    expect(await left()).toBe(0);
  });

  test('what cannot be a parent: not there, of another session or lockspace, too deep, not granted', async () => {
    const [a, b] = [await cluster.client(1), await cluster.client(1)];
    await a.lock(1, { resource: 'r' });
    expect(await errno(a.lock(2, { resource: 'x', parent: 9 }))).toBe('EINVAL');
    expect(await errno(b.lock(1, { resource: 'x', parent: 1 }))).toBe('EINVAL');
    expect(await errno(a.lock(3, { lockspace: 'other', resource: 'x', parent: 1 }))).toBe('EINVAL');
    const waits = b.lock(2, { resource: 'r' });
    expect(await errno(b.lock(3, { resource: 'x', parent: 2 }))).toBe('EINVAL');
    await b.unlock(2, { force: true });
    await waits;
    for (let depth = 2; depth <= lockDepthMax; depth++)
      expect(
        (
          await a.lock(100 + depth, {
            resource: 'x'.repeat(64),
            parent: depth === 2 ? 1 : 99 + depth,
          })
        ).ok,
      ).toBe(true);
    const deep = { resource: 'x', parent: 100 + lockDepthMax };
    expect(await errno(a.lock(200, deep))).toBe('EINVAL');
    await a.close();
    expect(await left()).toBe(0);
  });
});
