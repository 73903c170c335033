// Schedulers as tables of places.
import type { SchedulerFlag, SchedulerName } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import { describe, expect, test } from 'vitest';
import { type Candidate, maglevPlaces, placesOf } from '../src/index.ts';
import { aheadOf, roundMax } from '../src/places.ts';
import { candidate, counts } from './pool.ts';

function places(
  scheduler: SchedulerName,
  list: readonly Candidate[],
  flags: readonly SchedulerFlag[] = [],
) {
  const id = { protocol: 'tcp', address: '10.9.0.1', port: 80 } as const;
  const servers = list.map((c) => c.server);
  const service = { id, scheduler, flags: [...flags], servers };
  return placesOf(service, list, { random: seededRandom(1), atMs: 0 });
}
const pool = (...weights: number[]): Candidate[] => weights.map((w, n) => candidate(n + 1, w));

describe('LVS: places', () => {
  test('wrr: one round, interleaved as the scheduler does', () => {
    expect(places('wrr', pool(8, 6, 0, 4)).servers).toEqual([0, 0, 1, 0, 1, 3, 0, 1, 3]);
  });

  test('wrr: weights without a small round: at most 4096 places, shares within 1 %, none without', () => {
    const { servers } = places('wrr', pool(1_000_003, 500_009, 1));
    expect(servers.length).toBeLessThanOrEqual(roundMax);
    const [a = 0, b = 0, c] = counts(servers, 3);
    expect(Math.abs(a / b / 2 - 1)).toBeLessThan(0.01);
    expect(c).toBe(1);
  });

  test('wlc: the next picks with the connections that are there', () => {
    const list = [candidate(1, 1, 100), candidate(2, 1, 0), candidate(3, 2, 300)];
    const { by, servers } = places('wlc', list);
    expect([by, servers.length]).toEqual(['turn', aheadOf]);
    const after = counts(servers, 3).map((n, i) => (n + (list[i] as Candidate).active) / (i + 1));
    expect(servers.slice(0, 100).every((i) => i === 1)).toBe(true);
    expect(Math.abs((after[0] as number) - (after[1] as number) * 2)).toBeLessThanOrEqual(2);
  });

  test('sh, mh: without fallback the places of an overloaded server are nobody’s, with it another’s', () => {
    for (const [name, size] of [['sh', 256] as const, ['mh', maglevPlaces] as const]) {
      const list = pool(1, 1, 1);
      (list[1] as Candidate).overloaded = true;
      const plain = places(name, list);
      expect([plain.by, plain.servers.length]).toEqual(['client', size]);
      expect(plain.servers.includes(1)).toBe(false);
      expect(plain.servers.includes(-1)).toBe(true);
      const falls = places(name, list, [`${name}-fallback`, `${name}-port`]);
      expect(falls.by).toBe('client-port');
      expect(falls.servers.every((at) => at === 0 || at === 2)).toBe(true);
      expect(plain.servers.every((at, i) => at === -1 || at === falls.servers[i])).toBe(true);
    }
  });

  test('ovf: as many as may go over, and none beyond', () => {
    expect(counts(places('ovf', pool(3, 1)).servers, 2)).toEqual([4, 2]);
  });
});
