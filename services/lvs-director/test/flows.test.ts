// Connections of a service one by one: exact schedulers, persistence, thresholds.
import type { RealServer, SchedulerName, VirtualService } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import { describe, expect, test } from 'vitest';
import { clientsMax, type Flows, flowsOf, type HeldFlow } from '../src/index.ts';

const server = (n: number, more: Partial<RealServer> = {}): RealServer => ({
  ...{ address: `10.1.0.${n}`, port: 80, forward: 'masq', weight: 1, upper: 0, lower: 0, ...more },
});
const service = (
  scheduler: SchedulerName,
  servers: RealServer[],
  more: Partial<VirtualService> = {},
): VirtualService => ({
  ...{ id: { protocol: 'tcp', address: '10.9.0.1', port: 80 }, scheduler, flags: [], servers },
  ...more,
});
const flows = (s: VirtualService): Flows => flowsOf(s, seededRandom(5));
const open = (f: Flows, client = 1, atMs = 0): HeldFlow | undefined => {
  const flow = f.begin({ client, clientPort: 1, destination: 1, atMs });
  flow?.established();
  return flow;
};
const at = (flow: HeldFlow | undefined): number => Number(flow?.server.address.split('.')[3] ?? 0);

describe('LVS: flows', () => {
  test('lc, wlc, sed, nq, ovf under connections that come and go and weights that change: each pick is the rule’s', () => {
    const random = seededRandom(17);
    type Known = { weight: number; active: number };
    const least = (all: Known[], cost: (k: Known) => number): number => {
      let best = -1;
      for (const [i, k] of all.entries())
        if (k.weight > 0 && (best < 0 || cost(k) < cost(all[best] as Known))) best = i;
      return best;
    };
    const rules: Record<string, (all: Known[]) => number> = {
      lc: (all) => least(all, (k) => k.active),
      wlc: (all) => least(all, (k) => k.active / k.weight),
      sed: (all) => least(all, (k) => (k.active + 1) / k.weight),
      nq: (all) => {
        const idle = all.findIndex((k) => k.weight > 0 && k.active === 0);
        return idle >= 0 ? idle : least(all, (k) => (k.active + 1) / k.weight);
      },
      ovf: (all) =>
        least(
          all.map((k) => (k.active > k.weight ? { ...k, weight: 0 } : k)),
          (k) => -k.weight,
        ),
    };
    for (const [name, rule] of Object.entries(rules)) {
      const known: Known[] = [4, 2, 1, 3].map((weight) => ({ weight, active: 0 }));
      const now = () =>
        service(
          name as SchedulerName,
          known.map(({ weight }, i) => server(i + 1, { weight })),
        );
      const f = flows(now());
      const held: { flow: HeldFlow; i: number }[] = [];
      for (let step = 0; step < 2_000; step++) {
        const what = random.float();
        if (what < 0.55) {
          const expected = rule(known);
          const flow = open(f);
          expect([name, step, at(flow) - 1]).toEqual([name, step, expected]);
          if (!flow) continue;
          held.push({ flow, i: expected });
          (known[expected] as Known).active++;
        } else if (what < 0.97) {
          const [gone] = held.splice(Math.floor(random.float() * held.length), 1);
          gone?.flow.end();
          if (gone) (known[gone.i] as Known).active--;
        } else {
          (known[Math.floor(random.float() * 4)] as Known).weight = Math.floor(random.float() * 6);
          f.change(now());
        }
      }
    }
  });

  test('wrr under weights that change: shares of each stretch are the weights’', () => {
    const f = flows(service('wrr', [server(1), server(2)]));
    const random = seededRandom(23);
    for (let round = 0; round < 20; round++) {
      const weights = [1, 2].map(() => 1 + Math.floor(random.float() * 8)) as [number, number];
      f.change(
        service(
          'wrr',
          weights.map((weight, i) => server(i + 1, { weight })),
        ),
      );
      const all = weights[0] + weights[1];
      const got = [0, 0, 0];
      for (let n = 0; n < all * 10; n++) {
        const to = at(open(f));
        got[to] = (got[to] ?? 0) + 1;
      }
      expect(Math.abs((got[1] ?? 0) - weights[0] * 10)).toBeLessThanOrEqual(weights[0] + 1);
    }
  });

  test('thresholds: none beyond upper, and again below lower, or three quarters of upper', () => {
    for (const [lower, again] of [
      [2, 1],
      [0, 2],
    ] as const) {
      const f = flows(service('rr', [server(1, { upper: 3, lower })]));
      const held = [1, 2, 3].map(() => open(f));
      expect(held.every((h) => h !== undefined)).toBe(true);
      for (let left = 3; left > again; left--) {
        expect([left, open(f)]).toEqual([left, undefined]);
        held.pop()?.end();
      }
      expect(open(f)).toBeDefined();
    }
  });

  test('persistence: until its time is over, by netmask, through quiesce; another when its server has left', () => {
    const persistence = { timeoutS: 10, netmask: '255.255.255.0' };
    const both = (weight: number) => [server(1, { weight }), server(2)];
    const f = flows(service('rr', both(1), { persistence }));
    expect([1, 2, 255].map((client) => at(open(f, client, 0)))).toEqual([1, 1, 1]);
    expect(at(open(f, 256, 0))).toBe(2);
    f.change(service('rr', both(0), { persistence }));
    expect(at(open(f, 3, 9_000))).toBe(1);
    expect(at(open(f, 3, 18_000))).toBe(1);
    expect(at(open(f, 3, 28_000))).toBe(2);
    f.change(service('rr', [server(1)], { persistence }));
    expect(at(open(f, 3, 29_000))).toBe(1);
  });

  test('persistence: so many clients are kept, the oldest forgotten', () => {
    const persistence = { timeoutS: 1_000, netmask: '255.255.255.255' };
    const f = flows(service('rr', [server(1), server(2)], { persistence }));
    for (let client = 0; client <= clientsMax; client++) open(f, client, 0)?.end();
    // Of turns 1, 2, 1, 2: client 1 has server 2; client 0 was forgotten and is given the next.
    expect(at(open(f, 1))).toBe(2);
    expect(at(open(f, 0))).toBe(2);
  });

  test('a server that left: its connections end without harm; with the same one added again, at 0', () => {
    const f = flows(service('lc', [server(1), server(2)]));
    const held = [open(f), open(f), open(f)];
    f.change(service('lc', [server(2)]));
    for (const h of held) h?.end();
    f.change(service('lc', [server(1), server(2)]));
    expect(f.candidates().map((c) => [c.active, c.inactive])).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });
});
