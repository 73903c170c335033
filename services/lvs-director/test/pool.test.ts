// Pools: who lives, quorum and hysteresis, sorry server, scripts; against the rule worked out by hand.
import type { RealServer, VirtualService } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import { describe, expect, test } from 'vitest';
import { carriedBy, type Pool, poolEnds, poolOf, serverIs, serverWeighs } from '../src/index.ts';

const server = (n: number, weight = 1, health?: RealServer['health']): RealServer => ({
  ...{ address: `10.1.0.${n}`, port: 80, forward: 'masq', weight, upper: 0, lower: 0 },
  ...(health && { health }),
});
const name = (n: number): string => `10.1.0.${n}:80`;
const service = (servers: RealServer[], more: Partial<VirtualService> = {}): VirtualService => ({
  ...{ id: { protocol: 'tcp', address: '10.9.0.1', port: 80 }, scheduler: 'rr', flags: [] },
  ...{ servers, ...more },
});
const up = (): boolean => true;
const down = (): boolean => false;
const carried = (pool: Pool): string[] =>
  carriedBy(pool).servers.map((s) => `${s.address.split('.')[3]}*${s.weight}`);

/** Servers up (+n) and down (-n) one after the other; what happened, as words. */
function run(from: Pool, steps: readonly number[]): { pool: Pool; seen: string[] } {
  let pool = from;
  const seen = steps.map((n) => {
    const step = serverIs(pool, name(Math.abs(n)), n > 0);
    pool = step.pool;
    return step.changes.map((c) => c.what).join(' ');
  });
  return { pool, seen };
}

describe('LVS: pools', () => {
  test('quorum: lost below it, and again with it; without a sorry server what lives goes on', () => {
    const { pool } = poolOf(
      service([server(1), server(2), server(3)], { health: { quorum: 2 } }),
      up,
    );
    const { pool: after, seen } = run(pool, [-1, -2, -3, 3, 2]);
    expect(seen).toEqual([
      ...['server-down', 'server-down quorum-down', 'server-down', 'server-up'],
      'server-up quorum-up',
    ]);
    expect(carried(after)).toEqual(['2*1', '3*1']);
    expect(carried(run(pool, [-1, -2]).pool)).toEqual(['3*1']);
  });

  test('hysteresis: gained at quorum + h, lost below quorum - h; the flapping of one server changes nothing', () => {
    const servers = [1, 2, 3, 4, 5].map((n) => server(n));
    const { pool } = poolOf(service(servers, { health: { quorum: 3, hysteresis: 1 } }), up);
    expect(pool.hasQuorum).toBe(true);
    const flaps = run(pool, [-1, -2, -3, 3, -3, 3, -3]);
    expect(flaps.seen.join(' ')).not.toContain('quorum');
    const lost = run(flaps.pool, [-4]);
    expect(lost.seen).toEqual(['server-down quorum-down']);
    const back = run(lost.pool, [4, 3, -3, 3, 2]);
    expect(back.seen.map((s) => s.includes('quorum'))).toEqual([false, false, false, false, true]);
  });

  test('a random walk: quorum is as the rule says at each step', () => {
    const random = seededRandom(11);
    for (let round = 0; round < 50; round++) {
      const servers = [1, 2, 3, 4, 5, 6].map((n) => server(n, Math.floor(random.float() * 5)));
      const all = servers.reduce((sum, s) => sum + s.weight, 0);
      const health = {
        quorum: 1 + Math.floor(random.float() * 12),
        hysteresis: Math.floor(random.float() * 4),
      };
      const quorum = Math.max(1, Math.min(health.quorum, all));
      const hysteresis = Math.min(health.hysteresis, quorum - 1);
      let { pool } = poolOf(service(servers, { health }), up);
      const lives = new Set([1, 2, 3, 4, 5, 6]);
      let expected = all >= quorum + hysteresis;
      expect(pool.hasQuorum).toBe(expected);
      for (let step = 0; step < 30; step++) {
        const n = 1 + Math.floor(random.float() * 6);
        const isUp = random.float() < 0.5;
        if (isUp === lives.has(n)) continue;
        if (isUp) lives.add(n);
        else lives.delete(n);
        ({ pool } = serverIs(pool, name(n), isUp));
        const sum = [...lives].reduce((s, at) => s + (servers[at - 1]?.weight ?? 0), 0);
        expected = expected ? sum > 0 && sum >= quorum - hysteresis : sum >= quorum + hysteresis;
        expect(pool.hasQuorum).toBe(expected);
      }
    }
  });

  test('sorry server: in the place of all without quorum, gone with it; at the start in alpha mode as well', () => {
    const sorry = { sorryServer: server(9), health: { quorum: 2 } };
    const { pool } = poolOf(service([server(1), server(2)], sorry), up);
    expect(carried(pool)).toEqual(['1*1', '2*1']);
    const one = run(pool, [-1]).pool;
    expect(carried(one)).toEqual(['9*1']);
    expect(carried(run(one, [1]).pool)).toEqual(['1*1', '2*1']);
    const alpha = poolOf(service([server(1), server(2)], sorry), down);
    expect([carried(alpha.pool), alpha.changes]).toEqual([['9*1'], []]);
    // None of them at all.
    expect(carried(poolOf(service([], sorry), up).pool)).toEqual(['9*1']);
  });

  test('inhibit_on_failure: weight 0, not gone; a weight that a checker tells counts for the quorum', () => {
    const inhibited = { checkers: [], inhibitOnFailure: true };
    const { pool } = poolOf(service([server(1, 3, inhibited), server(2, 2)]), up);
    expect(carried(run(pool, [-1]).pool)).toEqual(['1*0', '2*2']);
    const strong = poolOf(
      service([server(1, 4), server(2, 4)], { health: { quorum: 8 } }),
      up,
    ).pool;
    const weak = serverWeighs(strong, name(1), 1);
    expect(weak.changes.map((c) => c.what)).toEqual(['weight', 'quorum-down']);
    expect(carried(weak.pool)).toEqual(['1*1', '2*4']);
    const own = serverWeighs(weak.pool, name(1), undefined);
    expect(own.changes.map((c) => c.what)).toEqual(['weight', 'quorum-up']);
  });

  test('scripts: of the server, of the quorum, and with omega at the end', () => {
    const health = { checkers: [], notifyUp: ['/up'], notifyDown: ['/down'] };
    const quorum = { quorumUp: ['/q-up'], quorumDown: ['/q-down'] };
    const { pool } = poolOf(service([server(1, 1, health)], { health: quorum }), up);
    const lost = serverIs(pool, name(1), false);
    expect(lost.changes.map((c) => c.script)).toEqual([['/down'], ['/q-down']]);
    expect(serverIs(lost.pool, name(1), true).changes.map((c) => c.script)).toEqual([
      ...[['/up'], ['/q-up']],
    ]);
    expect(poolEnds(pool)).toEqual([]);
    const omega = poolOf(
      service([server(1, 1, health)], { health: { ...quorum, omega: true } }),
      up,
    );
    expect(poolEnds(omega.pool).map((c) => c.script)).toEqual([['/down'], ['/q-down']]);
  });

  test('servers come and go: those that stay are as they were', () => {
    const { pool } = poolOf(service([server(1), server(2)]), up);
    const after = poolOf(service([server(2), server(3)]), up, run(pool, [-2]).pool);
    expect(carried(after.pool)).toEqual(['3*1']);
    expect(after.changes).toEqual([]);
  });
});
