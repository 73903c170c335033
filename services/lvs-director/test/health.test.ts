// Health on a stepped clock, with servers in memory.
import type { Checker, RealServer, VirtualService } from '@ssi/contracts';
import { noLog, seededRandom } from '@ssi/ports';
import { SimClock } from '@ssi/sim';
import { afterEach, describe, expect, test } from 'vitest';
import { FakeProber, type Health, startHealth } from '../src/index.ts';

let health: Health | undefined;
afterEach(() => health?.stop());

const tcp: Checker = { kind: 'TCP_CHECK', delayLoopMs: 1_000, retry: 1, delayBeforeRetryMs: 100 };
const server = (n: number, more: Partial<NonNullable<RealServer['health']>> = {}): RealServer => ({
  ...{ address: `10.1.0.${n}`, port: 80, forward: 'masq', weight: 4, upper: 0, lower: 0 },
  health: { checkers: [tcp], ...more },
});
const service = (servers: RealServer[], more: Partial<VirtualService> = {}): VirtualService => ({
  ...{ id: { protocol: 'tcp', address: '10.9.0.1', port: 80 }, scheduler: 'rr', flags: [] },
  ...{ servers, ...more },
});

function world() {
  const clock = new SimClock();
  const prober = new FakeProber(clock);
  const changes: string[] = [];
  const h = startHealth({
    ...{ clock, prober, random: seededRandom(3), log: noLog },
    onChange: (_, { what, server: of }) =>
      changes.push(`${Math.floor(clock.nowMs())} ${what}${of ? ` ${of}` : ''}`),
  });
  health = h;
  const carried = (): string[] =>
    h.carried().flatMap((s) => s.servers.map((r) => `${r.address}*${r.weight}`));
  return { clock, prober, changes, health: h, carried };
}

describe('LVS: health', () => {
  test('a server that stops answering leaves after its retries, and comes back with its first success', async () => {
    const w = world();
    for (const n of [1, 2]) w.prober.servers.set(`10.1.0.${n}:80`, 'listens');
    w.health.configure([service([server(1), server(2)])]);
    await w.clock.run(5_000);
    expect([w.changes, w.carried()]).toEqual([[], ['10.1.0.1*4', '10.1.0.2*4']]);
    w.prober.servers.delete('10.1.0.1:80');
    await w.clock.run(6_150);
    expect(w.changes.map((c) => c.split(' ').slice(1).join(' '))).toEqual([
      'server-down 10.1.0.1:80',
    ]);
    expect(w.carried()).toEqual(['10.1.0.2*4']);
    expect(w.health.states()[0]).toMatchObject({ isUp: false, reasons: ['ECONNREFUSED'] });
    w.prober.servers.set('10.1.0.1:80', 'listens');
    await w.clock.run(7_300);
    expect(w.carried()).toEqual(['10.1.0.1*4', '10.1.0.2*4']);
  });

  test('warm-up scatters first checks over delay_loop; 0: at once', async () => {
    const w = world();
    const many = Array.from({ length: 40 }, (_, n) => server(n + 1));
    w.health.configure([service(many)]);
    await w.clock.run(500);
    expect(w.prober.asked.length).toBeGreaterThan(10);
    expect(w.prober.asked.length).toBeLessThan(30);
    const v = world();
    v.health.configure([service([server(1, { checkers: [{ ...tcp, warmupMs: 0 }] })])]);
    await v.clock.run(0);
    expect(v.prober.asked.length).toBe(1);
  });

  test('all of a server’s checkers must succeed; a script weighs it; scripts are told of changes', async () => {
    const w = world();
    w.prober.servers.set('10.1.0.1:80', 'listens');
    w.prober.scripts.set('/load', 12);
    for (const path of ['/up', '/down', '/q-up', '/q-down']) w.prober.scripts.set(path, 0);
    const misc: Checker = {
      ...{ kind: 'MISC_CHECK', script: ['/load'], dynamic: true, delayLoopMs: 1_000 },
    };
    const own = { checkers: [tcp, misc], notifyUp: ['/up'], notifyDown: ['/down'] };
    const quorum = { health: { quorumUp: ['/q-up'], quorumDown: ['/q-down'] } };
    w.health.configure([service([server(1, own)], quorum)]);
    await w.clock.run(2_000);
    expect(w.carried()).toEqual(['10.1.0.1*10']);
    w.prober.scripts.set('/load', 1);
    await w.clock.run(3_000);
    expect(w.carried()).toEqual([]);
    // Seen to be gone before the script is content: which is asked first is chance.
    w.prober.servers.delete('10.1.0.1:80');
    await w.clock.run(6_000);
    w.prober.scripts.set('/load', 0);
    await w.clock.run(9_000);
    expect(w.carried()).toEqual([]);
    w.prober.servers.set('10.1.0.1:80', 'listens');
    await w.clock.run(11_000);
    expect(w.carried()).toEqual(['10.1.0.1*4']);
    const scripts = w.prober.asked.flatMap((p) => (p.kind === 'script' ? p.argv : []));
    expect(scripts.filter((path) => path !== '/load')).toEqual([
      '/down',
      '/q-down',
      '/up',
      '/q-up',
    ]);
  });

  test('changes of the table: what stays is not asked anew, what goes is asked no more', async () => {
    const w = world();
    w.prober.servers.set('10.1.0.2:80', 'listens');
    const alpha = { checkers: [{ ...tcp, alpha: true }] };
    w.health.configure([service([server(1, alpha), server(2, alpha)])]);
    expect(w.carried()).toEqual([]);
    await w.clock.run(2_000);
    expect(w.carried()).toEqual(['10.1.0.2*4']);
    w.health.configure([service([{ ...server(2, alpha), weight: 9 }, server(3)])]);
    expect(w.carried()).toEqual(['10.1.0.2*9', '10.1.0.3*4']);
    const before = w.prober.asked.length;
    await w.clock.run(4_000);
    const later = w.prober.asked.slice(before).flatMap((p) => (p.kind === 'tcp' ? p.address : []));
    expect([...new Set(later)].sort()).toEqual(['10.1.0.2', '10.1.0.3']);
    w.health.configure([]);
    const asked = w.prober.asked.length;
    await w.clock.run(9_000);
    expect([w.prober.asked.length, w.carried()]).toEqual([asked, []]);
  });

  test('omega: at the end the scripts run; a script that hangs is ended after 60 s', async () => {
    const w = world();
    w.prober.servers.set('10.1.0.1:80', 'listens');
    w.prober.scripts.set('/down', 'hangs');
    w.prober.scripts.set('/q-down', 0);
    const omega = { health: { omega: true, quorumDown: ['/q-down'] } };
    w.health.configure([service([server(1, { notifyDown: ['/down'] })], omega)]);
    await w.clock.run(2_000);
    const stopped = w.health.stop();
    await w.clock.run(70_000);
    await stopped;
    const scripts = w.prober.asked.flatMap((p) => (p.kind === 'script' ? p.argv : []));
    expect(scripts).toEqual(['/down', '/q-down']);
  });
});
