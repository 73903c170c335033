// More than one message carries: what a node holds of many resources with long names.
import { lockDepthMax } from '@ssi/contracts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Cluster, until } from './cluster.ts';

let cluster: Cluster;
beforeEach(async () => {
  cluster = new Cluster();
  await cluster.start(1, 2, 3);
});
afterEach(() => cluster.stop());

const count = async (num: number, what: string): Promise<number> =>
  (await cluster.counters(num))[what] ?? 0;

describe('DLM: recovery: more than one message carries', { timeout: 60_000 }, () => {
  test('2,000 resources under seven others, with names as long as can be, have new directories', async () => {
    const c = await cluster.client(2);
    const name = (i: number) => `${i}`.padEnd(64, 'n');
    for (let depth = 1; depth < lockDepthMax; depth++) {
      const parent = depth > 1 && { parent: depth - 1 };
      await c.lock(depth, { resource: name(0), mode: 'CR', ...parent });
    }
    const parent = lockDepthMax - 1;
    await Promise.all(
      Array.from({ length: 2_000 }, (_, i) =>
        c.lock(100 + i, { resource: name(i), mode: 'CR', parent }),
      ),
    );
    await cluster.kill(1);
    await until(
      'all are mended',
      async () => {
        const [a, b] = [await count(2, 'recovering'), await count(3, 'recovering')];
        return a + b === 0;
      },
      30_000,
    );
    const again = await c.lock(3_000, { resource: name(1), mode: 'CR', parent });
    expect(again.ok).toBe(true);
    expect(await count(2, 'mastered')).toBe(2_000 + parent + 1);
  });
});
