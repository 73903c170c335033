// The lock manager alone is started again: its clients tell it what they hold, and nobody notices but by time.
import { dlm, type LockGrant, type LockRange, type RequestOf } from '@ssi/contracts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, Cluster, until } from './cluster.ts';

let cluster: Cluster;
beforeEach(async () => {
  cluster = new Cluster();
  cluster.keepsSessions = true;
  await cluster.start(1, 2, 3);
});
afterEach(() => cluster.stop());

type Resumed = RequestOf<typeof dlm.ops.resume>['locks'][number];
const flags = ['VALBLK' as const];
const text = (value: Uint8Array | undefined): string =>
  Buffer.from(value ?? [])
    .toString('utf8')
    .replaceAll('\0', '');

async function granted(reply: ReturnType<Client['lock']>): Promise<LockGrant> {
  const got = await reply;
  if (!got.ok) throw new Error(`${got.errno} ${got.detail}`);
  return got.value;
}

/** What a client keeps of a grant. */
function kept(ref: number, resource: string, grant: LockGrant, q: Partial<Resumed> = {}): Resumed {
  const { mode, token, value, copy } = grant;
  if (!copy) throw new Error('no copy');
  return {
    ...{ ref, op: 1, lockspace: 'ls', resource, mode, copy, bast: false, persistent: false },
    ...(token !== undefined && { token }),
    ...(value && { value }),
    ...q,
  };
}

async function restart(client: Client, locks: Resumed[]): Promise<void> {
  await cluster.restart(client.node);
  await until('it says EREMCHG', () => client.over !== undefined);
  expect(await client.lock(99, { resource: 'x', op: 1 })).toMatchObject({ errno: 'EREMCHG' });
  expect(await client.resume(locks)).toMatchObject({ ok: true });
}

describe('DLM: restart of the service alone, with its clients', () => {
  // Master: the node of the holder itself, or another.
  for (const master of [3, 1])
    test(`what they hold is theirs, with token and value; master on node ${master}`, async () => {
      const [first, c, b] = [
        await cluster.client(master),
        await cluster.client(3),
        await cluster.client(2),
      ];
      await first.lock(1, { resource: 'r', mode: 'NL' });
      const grant = await granted(c.lock(1, { resource: 'r', flags }));
      const waits = b.lock(1, { resource: 'r', flags });
      if (master === 3) await first.close();
      await restart(c, [kept(1, 'r', grant)]);
      expect(await b.lock(2, { resource: 'r', flags: ['NOQUEUE'] })).toMatchObject({
        errno: 'EAGAIN',
      });
      expect(await c.unlock(1, { flags, value: Buffer.from('kept') })).toMatchObject({ ok: true });
      const next = await granted(waits);
      expect(text(next.value)).toBe('kept');
      expect(next.valueInvalid).toBe(false);
      expect(BigInt(next.token ?? 0) > BigInt(grant.token ?? 0)).toBe(true);
    });

  test('an unlock that the restart cut short is made, with its value, once', async () => {
    const [a, c] = [await cluster.client(1), await cluster.client(3)];
    await a.lock(1, { resource: 'r', mode: 'NL' });
    const grant = await granted(c.lock(1, { resource: 'r', flags }));
    await restart(c, [kept(1, 'r', grant, { giving: { flags, value: Buffer.from('written') } })]);
    const next = await granted(a.lock(2, { resource: 'r', flags }));
    expect(text(next.value)).toBe('written');
    expect(next.valueInvalid).toBe(false);
  });

  test('locks under locks and byte ranges are there again; bytes that were being given up are not', async () => {
    const [a, c] = [await cluster.client(1), await cluster.client(3)];
    const nl = { mode: 'NL' as const, flags: [] };
    await a.lock(1, { resource: 'f', ...nl });
    const range = (type: LockRange['type'], start: number, length: number) => ({
      ...{ resource: 'f', ...nl, range: { type, start, length } },
    });
    const top = await granted(c.lock(1, { resource: 'top', mode: 'CR' }));
    const leaf = await granted(c.lock(2, { resource: 'leaf', parent: 1 }));
    await granted(c.lock(3, { resource: 'f', ...nl }));
    const file = await granted(c.lock(3, range('write', 0, 10)));
    const { range: cut } = range('none', 0, 4);
    await restart(c, [
      kept(1, 'top', top),
      kept(2, 'leaf', leaf, { parent: 1, parents: ['top'] }),
      kept(3, 'f', file, { op: 2, giving: { ...nl, range: cut } }),
    ]);
    expect((await a.lock(1, range('write', 0, 4))).ok).toBe(true);
    const other = await a.lock(1, { ...range('read', 4, 1), flags: ['NOQUEUE'] });
    expect(other).toMatchObject({ errno: 'EAGAIN' });
    await granted(a.lock(2, { resource: 'top', mode: 'CR' }));
    const q = { resource: 'leaf', parent: 2, flags: ['NOQUEUE' as const] };
    expect(await a.lock(3, q)).toMatchObject({ errno: 'EAGAIN' });
    expect(await c.unlock(1)).toMatchObject({ errno: 'EBUSY' });
    expect(await c.unlock(1, { force: true })).toMatchObject({ ok: true });
    expect((await a.lock(4, q)).ok).toBe(true);
  });

  test('20 owners of 1,000 pieces each are more than one message to their master carries', async () => {
    const [a, c] = [await cluster.client(1), await cluster.client(3)];
    const nl = { resource: 'f', mode: 'NL' as const };
    await a.lock(1, nl);
    const ranges = Array.from({ length: 1_000 }, (_, i) => ({
      ...{ start: 2 * i, end: 2 * i + 1, write: false },
    }));
    const locks: Resumed[] = [];
    for (let ref = 1; ref <= 20; ref++) {
      const grant = await granted(c.lock(ref, nl));
      if (grant.copy) locks.push(kept(ref, 'f', { ...grant, copy: { ...grant.copy, ranges } }));
    }
    await cluster.restart(3);
    await until('it says EREMCHG', () => c.over !== undefined);
    for (let at = 0; at < 20; at += 5) {
      const q = { session: c.session, locks: locks.slice(at, at + 5), more: at < 15 };
      expect((await c.ics.call(dlm, 'resume', 3, q)).ok).toBe(true);
    }
    await until('the master has them', async () => {
      const [f] = await cluster.list(1);
      return f?.granted.length === 21 && f.ranges !== undefined && !f.recovering;
    });
    const flags = ['NOQUEUE' as const];
    const range = (start: number) => ({ type: 'write' as const, start, length: 1 });
    expect(await a.lock(1, { ...nl, flags, range: range(1_998) })).toMatchObject({
      errno: 'EAGAIN',
    });
    expect((await a.lock(1, { ...nl, flags, range: range(1_999) })).ok).toBe(true);
  });

  test('a client that died with it: others have its locks after 10 s, the value not valid', {
    timeout: 30_000,
  }, async () => {
    const [a, c] = [await cluster.client(1), await cluster.client(3)];
    await a.lock(1, { resource: 'r', mode: 'NL' });
    await granted(c.lock(1, { resource: 'r', flags }));
    await cluster.restart(3);
    const next = await granted(a.lock(2, { resource: 'r', flags }));
    expect(next.valueInvalid).toBe(true);
    expect(await c.resume([])).toMatchObject({ errno: 'ESRCH' });
  });

  test('a node that was excluded comes back: what its clients held is lost, whatever is on record', async () => {
    const [a, c] = [await cluster.client(1), await cluster.client(3)];
    const grant = await granted(c.lock(1, { resource: 'r' }));
    await cluster.exclude(3);
    const next = await granted(a.lock(1, { resource: 'r' }));
    await cluster.comeBack(3);
    await until('it is told', () => c.over !== undefined);
    let resumed = await c.resume([kept(1, 'r', grant)]);
    await until('the lock manager knows in which life of its node it is', async () => {
      if (!resumed.ok && resumed.errno === 'EAGAIN')
        resumed = await c.resume([kept(1, 'r', grant)]);
      return resumed.ok || resumed.errno !== 'EAGAIN';
    });
    expect(resumed).toMatchObject({ errno: 'ESRCH' });
    const other = await cluster.client(3);
    expect(await other.lock(1, { resource: 'r', flags: ['NOQUEUE'] })).toMatchObject({
      errno: 'EAGAIN',
    });
    await a.unlock(1);
    expect(BigInt((await granted(other.lock(2, { resource: 'r' }))).token ?? 0)).toBeGreaterThan(
      BigInt(next.token ?? 0),
    );
  });
});
