// Locks that outlive their owners. The rules are those of the commit "dlm: adopt orphan locks" and of
// dlm_ls_purge(3).
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, Cluster, until } from './cluster.ts';

let cluster: Cluster;
beforeEach(async () => {
  cluster = new Cluster();
  await cluster.start(1, 2);
});
afterEach(() => cluster.stop());

const resource = 'kept';
const flags = ['PERSISTENT' as const];
const errno = async (reply: Promise<{ ok: boolean; errno?: string }>) => (await reply).errno;
const orphans = async (num: number) => (await cluster.counters(num)).orphans;
const adopts = { resource, flags: ['ORPHAN' as const] };

async function leaves(node: number, mode: 'EX' | 'PR' = 'EX', pid?: number) {
  const owner = await cluster.client(node, pid);
  const lock = await owner.lock(1, { resource, mode, flags });
  if (!lock.ok) throw new Error(lock.detail);
  await owner.close();
  return lock.value;
}
const purge = async (by: Client, pid?: number) => {
  const reply = await by.purge({ lockspace: 'ls', ...(pid && { pid }) });
  return reply.ok ? reply.value.purged : reply.errno;
};

describe('DLM: orphans', () => {
  test('a PERSISTENT lock survives its owner and is adopted with a greater token', async () => {
    const left = await leaves(1);
    expect(await orphans(1)).toBe(1);
    const other = await cluster.client(2);
    expect(await errno(other.lock(1, { resource, flags: ['NOQUEUE'] }))).toBe('EAGAIN');
    const heir = await cluster.client(1);
    const adopted = await heir.lock(1, adopts);
    if (!adopted.ok) throw new Error(adopted.detail);
    expect(adopted.value.mode).toBe('EX');
    expect(BigInt(adopted.value.token ?? 0)).toBeGreaterThan(BigInt(left.token ?? 0));
    expect(await orphans(1)).toBe(0);
    // It is the heir's as any other: the master knows whose, it converts, it is given up.
    const listed = [...(await cluster.list(1)), ...(await cluster.list(2))];
    expect(listed[0]?.granted[0]?.session).toBe(heir.session);
    expect(await heir.lock(1, { resource, mode: 'PR' })).toMatchObject({ value: { mode: 'PR' } });
    expect(await heir.unlock(1)).toMatchObject({ ok: true });
    expect((await other.lock(2, { resource })).ok).toBe(true);
  });

  test('another mode is EAGAIN, no orphan ENOENT, and neither leaves a lock', async () => {
    const heir = await cluster.client(1);
    expect(await errno(heir.lock(1, adopts))).toBe('ENOENT');
    await leaves(1, 'PR');
    expect(await errno(heir.lock(2, adopts))).toBe('EAGAIN');
    expect(await errno(heir.lock(3, { ...adopts, mode: 'PR' }))).toBeUndefined();
    await heir.unlock(3);
    expect((await cluster.counters(1)).locks).toBe(0);
  });

  test('one orphan has one heir', async () => {
    await leaves(1);
    const heirs = [await cluster.client(1), await cluster.client(1)];
    const found = await Promise.all(heirs.map((heir) => errno(heir.lock(1, adopts))));
    expect(found.sort()).toEqual(['ENOENT', undefined]);
  });

  test('what an orphan waits for ends with its owner, what it holds does not', async () => {
    const other = await cluster.client(2);
    await other.lock(1, { resource, mode: 'PR' });
    const owner = await cluster.client(1);
    await owner.lock(1, { resource, mode: 'PR', flags });
    const converts = owner.lock(1, { resource, mode: 'EX' });
    await until('it converts', async () =>
      (await cluster.list(2)).some((r) => r.converting.length === 1),
    );
    await owner.close();
    await converts;
    await until('it is an orphan', async () => (await orphans(1)) === 1);
    const [listed] = await cluster.list(2);
    expect([listed?.granted.length, listed?.converting.length]).toEqual([2, 0]);
  });

  test('a purge takes those of a lockspace, of a process where one is named', async () => {
    await leaves(1, 'PR', 71);
    await leaves(1, 'PR', 72);
    await leaves(2, 'PR', 71);
    const by = await cluster.client(1);
    expect(await purge(by, 73)).toBe(0);
    expect(await purge(by, 71)).toBe(1);
    expect([await orphans(1), await orphans(2)]).toEqual([1, 1]);
    expect(await purge(by)).toBe(1);
    expect(await purge(await cluster.client(2))).toBe(1);
    const counted = await Promise.all([1, 2].map((num) => cluster.counters(num)));
    expect(counted.map((c) => (c.locks ?? 0) + (c.mastered ?? 0))).toEqual([0, 0]);
  });

  test('a purged writer leaves the value block invalid', async () => {
    await leaves(1);
    const by = await cluster.client(1);
    await purge(by);
    const lock = await by.lock(1, { resource, flags: ['VALBLK'] });
    expect(lock).toMatchObject({ value: { valueInvalid: true } });
  });

  test('an orphan is told to a new master when its own is lost', async () => {
    await cluster.start(3);
    const first = await cluster.client(3);
    await first.lock(1, { resource, mode: 'NL' });
    await leaves(1);
    await cluster.kill(3);
    const other = await cluster.client(2);
    expect(await errno(other.lock(1, { resource, flags: ['NOQUEUE'] }))).toBe('EAGAIN');
    const heir = await cluster.client(1);
    expect((await heir.lock(1, adopts)).ok).toBe(true);
  });
});
