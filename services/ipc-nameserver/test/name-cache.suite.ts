// What every cache of names promises: one suite, on memory and on a real redis-server.
import type { IpcBinding } from '@ssi/contracts';
import { expect, test } from 'vitest';
import type { NameCache } from '../src/index.ts';

const perm = { uid: 0, gid: 0, cuid: 0, cgid: 0, mode: 0o600 };
export const binding = (id: number, type: IpcBinding['type'] = 'msg'): IpcBinding => ({
  ...{ id, type, name: String(id), node: 2, bootId: 'a'.repeat(16), perm },
});

export function nameCacheSuite(open: (cluster: string) => NameCache): void {
  /** What the next nameserver finds; writes before it went in order. */
  const found = async (cluster: string, epoch: number): Promise<number[]> => {
    const cache = open(cluster);
    const ids = (await cache.begin(epoch)).map((b) => b.id);
    cache.close();
    return ids.sort((a, b) => a - b);
  };
  const settled = async (cache: NameCache, epoch: number): Promise<void> =>
    void (await cache.begin(epoch));

  test('the next one finds what was written: replaced, put and dropped, in order', async () => {
    const cache = open('one');
    expect(await cache.begin(5)).toEqual([]);
    cache.replace(5, [binding(1), binding(2, 'sem'), binding(3)]);
    cache.put(5, binding(4, 'fifo'));
    cache.drop(5, binding(1));
    await settled(cache, 5);
    expect(await found('one', 6)).toEqual([2, 3, 4]);
    const next = open('one');
    expect((await next.begin(7)).find((b) => b.id === 4)).toEqual(binding(4, 'fifo'));
    cache.close();
    next.close();
  });

  test('one of the past writes nothing and finds nothing, however late', async () => {
    const [old, next] = [open('two'), open('two')];
    await old.begin(5);
    old.put(5, binding(1));
    await settled(old, 5);
    await next.begin(8);
    next.put(8, binding(2));
    await settled(next, 8);
    old.put(5, binding(3));
    old.drop(5, binding(2));
    old.replace(5, []);
    expect(await old.begin(5)).toEqual([]);
    expect(await found('two', 9)).toEqual([1, 2]);
    old.close();
    next.close();
  });
}
