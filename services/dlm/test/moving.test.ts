// Mastership goes to the node that uses a resource most, and nothing is lost on the way, whoever dies.
import { directoryOf, keyOf } from '@ssi/contracts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, Cluster, until } from './cluster.ts';

let cluster: Cluster;
beforeEach(async () => {
  cluster = new Cluster();
  cluster.moveLead = 6;
  await cluster.start(1, 2, 3);
});
afterEach(() => cluster.stop());

const key = (resource: string) => keyOf('ls', resource);
function resourceOf(directory: number): string {
  for (let i = 0; ; i++)
    if (directoryOf(cluster.view(), key(`r${i}`)) === directory) return `r${i}`;
}
const masterOf = async (resource: string): Promise<number[]> => {
  const masters: number[] = [];
  for (const num of cluster.nodes.keys())
    for (const r of await cluster.list(num)) if (r.resource === resource) masters.push(r.master);
  return masters;
};
const text = (value: Uint8Array | undefined): string =>
  Buffer.from(value ?? [])
    .toString('utf8')
    .replace(/\0+$/, '');

let nextRef = 100;
/** As often as is needed to lead. Its tokens, in order. */
async function use(client: Client, resource: string, times = 8): Promise<bigint[]> {
  const tokens: bigint[] = [];
  for (let i = 0; i < times; i++) {
    const ref = nextRef++;
    const got = await client.lock(ref, { resource, mode: 'CW' });
    if (!got.ok) throw new Error(`${got.errno} ${got.detail}`);
    tokens.push(BigInt(got.value.token ?? 0));
    expect((await client.unlock(ref)).ok).toBe(true);
  }
  return tokens;
}
const moved = (resource: string, to: number) =>
  until(
    `${resource} is mastered at ${to}`,
    async () => (await masterOf(resource)).join() === `${to}`,
  );
const grows = (tokens: bigint[]) => tokens.every((t, i) => i === 0 || t > (tokens[i - 1] ?? 0n));

describe('DLM: mastership moves', () => {
  for (const directory of [1, 2, 3])
    test(`to who uses it most, with what is held and the value (directory ${directory})`, async () => {
      const resource = resourceOf(directory);
      const [a, b, c] = [await cluster.client(1), await cluster.client(2), await cluster.client(3)];
      const flags = ['VALBLK' as const];
      await a.lock(1, { resource, mode: 'EX', flags });
      await a.lock(1, { resource, mode: 'NL', flags, value: Buffer.from('kept') });
      await c.lock(1, { resource, mode: 'CR' });
      expect(await masterOf(resource)).toEqual([1]);
      const tokens = await use(b, resource);
      await b.lock(1, { resource, mode: 'CR', flags });
      await moved(resource, 2);
      expect(await cluster.counters(1)).toMatchObject({ moved: 1 });
      tokens.push(...(await use(b, resource, 2)));
      expect(grows(tokens)).toBe(true);
      const got = await b.lock(1, { resource, mode: 'PR', flags });
      expect(got).toMatchObject({ ok: true, value: { valueInvalid: false } });
      expect(got.ok && text(got.value.value)).toBe('kept');
      // All three locks are known to the new master.
      const list = (await cluster.list(2)).find((r) => r.resource === resource);
      expect(list?.granted).toHaveLength(3);
      const wants = c.lock(2, { resource, mode: 'EX', flags: ['NOQUEUE'] });
      expect(await wants).toMatchObject({ errno: 'EAGAIN' });
      expect(await a.lock(1, { resource, mode: 'CR' })).toMatchObject({ ok: true });
      for (const client of [a, b, c]) await client.close();
      for (const num of [1, 2, 3])
        expect(await cluster.counters(num)).toMatchObject({ locks: 0, mastered: 0 });
    });

  test('alone with it, the new master sends nothing any more', async () => {
    const resource = resourceOf(3);
    const [a, b] = [await cluster.client(1), await cluster.client(2)];
    await a.lock(1, { resource, mode: 'NL' });
    await use(b, resource);
    await b.lock(1, { resource, mode: 'NL' });
    await moved(resource, 2);
    const before = cluster.sent.filter((s) => /^2 (ask|release) /.test(s)).length;
    await use(b, resource, 5);
    expect(cluster.sent.filter((s) => /^2 (ask|release) /.test(s))).toHaveLength(before);
  });

  test('what was long ago counts no more', async () => {
    const resource = resourceOf(3);
    const [a, b] = [await cluster.client(1), await cluster.client(2)];
    await use(a, resource, 100);
    await use(b, resource, 2 * cluster.moveLead + cluster.moveLead + 1);
    await b.lock(1, { resource, mode: 'NL' });
    await moved(resource, 2);
  });

  test('two that use it alike leave it where it is', async () => {
    const resource = resourceOf(3);
    const [a, b, c] = [await cluster.client(1), await cluster.client(2), await cluster.client(3)];
    await a.lock(1, { resource, mode: 'NL' });
    for (let i = 0; i < 20; i++) {
      await use(b, resource, 1);
      await use(c, resource, 1);
    }
    expect(await masterOf(resource)).toEqual([1]);
  });

  for (const dies of [1, 2, 3])
    for (const at of ['moving', 'yield', 'named'] as const)
      test(`node ${dies} dies before "${at}" is done: one master, no lock lost, tokens grow`, async () => {
        // Master 1, next master 2, directory 3, which holds a lock too.
        const resource = resourceOf(3);
        const clients = [await cluster.client(1), await cluster.client(2), await cluster.client(3)];
        const [a, b, c] = clients as [Client, Client, Client];
        await a.lock(1, { resource, mode: 'CR' });
        await c.lock(1, { resource, mode: 'CR' });
        const reached = cluster.hold(at);
        const tokens = await use(b, resource, 5);
        const waits = b.lock(1, { resource, mode: 'CR' });
        await reached;
        void waits.catch(() => {});
        const dead = cluster.kill(dies);
        cluster.letGo();
        await dead;
        const left = clients.filter(({ node }) => node !== dies);
        for (const client of left)
          if (client === b) expect(await waits).toMatchObject({ ok: true, value: { mode: 'CR' } });
        await until('it has one master', async () => (await masterOf(resource)).length === 1);
        // Who is left holds CR still: nobody gets EX beside it.
        const [first, second] = left as [Client, Client];
        const ex = { resource, mode: 'EX' as const, flags: ['NOQUEUE' as const] };
        expect(await first.lock(2, ex)).toMatchObject({ errno: 'EAGAIN' });
        await second.unlock(1);
        expect(await first.lock(1, { resource, mode: 'EX' })).toMatchObject({ ok: true });
        await first.lock(1, { resource, mode: 'NL' });
        tokens.push(...(await use(first, resource, 2)));
        expect(grows(tokens)).toBe(true);
        for (const client of left) await client.close();
        for (const { node } of left)
          expect(await cluster.counters(node)).toMatchObject({ locks: 0, mastered: 0 });
      });

  test('a writer that dies on the way leaves a value block that is not valid', async () => {
    const resource = resourceOf(1);
    const [a, b, c] = [await cluster.client(1), await cluster.client(2), await cluster.client(3)];
    await a.lock(1, { resource, mode: 'NL' });
    await c.lock(1, { resource, mode: 'PW' });
    const reached = cluster.hold('named');
    for (let ref = 20; ref < 26; ref++) void b.lock(ref, { resource, mode: 'CR' });
    await reached;
    const dead = cluster.kill(3);
    cluster.letGo();
    await dead;
    const got = await b.lock(1, { resource, mode: 'PR', flags: ['VALBLK'] });
    expect(got).toMatchObject({ ok: true, value: { valueInvalid: true } });
  });
});
