// Direct routing in network namespaces of the test's own: nodes that all have the address, one that answers for it.
import type { RealServer, SchedulerFlag, SchedulerName, VirtualService } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  candidateOf,
  type DataPlane,
  directDataPlane,
  linkKey,
  type Planned,
  placesOf,
} from '../src/index.ts';
import { Net, vip, whyNoNet } from './net.ts';

const reason = whyNoNet();
const at = (n: number): string => `10.9.0.${n + 10}`;
const server = (n: number, weight = 1): RealServer => ({
  ...{ address: at(n), port: 80, forward: 'route', weight, upper: 0, lower: 0 },
});
const service = (
  servers: RealServer[],
  scheduler: SchedulerName = 'rr',
  flags: SchedulerFlag[] = [],
  more: Partial<VirtualService> = {},
): VirtualService => ({
  ...{ id: { protocol: 'tcp', address: vip, port: 80 }, scheduler, flags, servers, ...more },
});
const plan = (s: VirtualService): Planned => ({
  service: s,
  places: placesOf(s, s.servers.map(candidateOf), { random: seededRandom(1), atMs: 0 }),
});

describe.skipIf(reason)(`LVS: direct routing${reason ? ` (${reason})` : ''}`, () => {
  let net: Net;
  let planes: DataPlane[];

  beforeAll(async () => {
    net = await Net.flat(3);
    planes = [1, 2].map((n) =>
      directDataPlane({ nft: net.nftOf(`s${n}`), device: 'eth0', own: [at(n)] }),
    );
  });
  afterEach(async () => {
    for (const [i, plane] of planes.entries()) {
      expect(await plane.clear()).toEqual({ ok: true });
      expect(net.inside(`s${i + 1}`, ...net.nftOf('').slice(4), 'list', 'ruleset')).toBe('');
      drop(i + 1);
    }
  });
  afterAll(() => net?.stop());

  const quietly = (name: string, line: string): void => {
    net.inside(name, 'sh', '-c', `${line} 2>/dev/null || true`);
  };
  const drop = (n: number): void => quietly(`s${n}`, `ip addr del ${vip}/32 dev eth0`);
  /** From now on node `n` answers for the address. */
  function hold(n: number): void {
    quietly(`s${n}`, `ip addr add ${vip}/32 dev eth0`);
    quietly('client', 'ip neigh flush all');
  }
  const apply = async (n: number, s: VirtualService, more = {}): Promise<void> => {
    expect(await planes[n - 1]?.apply([plan(s)], more)).toEqual({ ok: true });
  };
  const names = async (n: number): Promise<string[]> =>
    (await net.ask(`many ${n} ${vip} 80`)).split(' ');
  const tally = (all: string[]): Record<string, number> => {
    const found: Record<string, number> = {};
    for (const name of all) found[name] = (found[name] ?? 0) + 1;
    return found;
  };

  test('in turn to the other nodes and to itself; as the weights say; nobody may: refused', async () => {
    await apply(1, service([server(1), server(2), server(3)]));
    hold(1);
    expect(tally(await names(9))).toEqual({ s1: 3, s2: 3, s3: 3 });
    await apply(1, service([server(1, 0), server(2, 1), server(3, 2)], 'wrr'));
    expect(tally(await names(9))).toEqual({ s2: 3, s3: 6 });
    await apply(1, service([server(1, 0)]));
    expect(await net.ask(`open x ${vip} 80`)).toBe('error ConnectionRefusedError');
  });

  test('a connection stays through quiesce and removal; of a node that is no more it is reset', async () => {
    await apply(1, service([server(3)]));
    hold(1);
    expect(await net.ask(`open a ${vip} 80`)).toBe('s3');
    await apply(1, service([server(2), server(3, 0)]));
    expect(await net.ask('say a one')).toBe('one');
    await apply(1, service([server(2)]));
    expect(await net.ask('say a two')).toBe('two');
    expect(tally(await names(4))).toEqual({ s2: 4 });
    await apply(1, service([server(2)]), { gone: [at(3)] });
    expect(await net.ask('say a three')).toMatch(/^error Connection(Reset|Aborted)Error/);
    await net.ask('close a');
  });

  test('another director goes on with the connections, wherever they are', async () => {
    const all = service([server(1), server(2), server(3)]);
    await apply(1, all);
    hold(1);
    const at3 = { a: '', b: '', c: '' };
    for (const name of ['a', 'b', 'c'] as const)
      at3[name] = await net.ask(`open ${name} ${vip} 80`);
    expect(Object.values(at3).sort()).toEqual(['s1', 's2', 's3']);
    // What the nodes' sockets say of them.
    const flows = [1, 2, 3].flatMap((n) =>
      net
        .inside(`s${n}`, 'ss', '-Htn', 'state', 'established')
        .split('\n')
        .flatMap((line) => {
          const [, clientPort] = /:80\s+10\.9\.0\.100:(\d+)/.exec(line) ?? [];
          return clientPort
            ? [
                {
                  ...{ protocol: 'tcp', client: '10.9.0.100', clientPort: Number(clientPort) },
                  ...{ address: vip, port: 80, server: at(n) },
                },
              ]
            : [];
        }),
    );
    // One of the former test may still be there: its client was reset, its server not.
    expect(flows.length).toBeGreaterThanOrEqual(3);
    drop(1);
    await planes[0]?.clear();
    await apply(2, all, { flows });
    hold(2);
    for (const name of ['a', 'b', 'c']) expect(await net.ask(`say ${name} ${name}`)).toBe(name);
    for (const name of ['a', 'b', 'c']) await net.ask(`close ${name}`);
  });

  test('by a hash another director places alike without having been told', async () => {
    const all = service([server(2), server(3)], 'sh', ['sh-port', 'sh-fallback']);
    await apply(1, all);
    hold(1);
    for (let i = 0; i < 8; i++) await net.ask(`open h${i} ${vip} 80`);
    drop(1);
    await planes[0]?.clear();
    await apply(2, all);
    hold(2);
    for (let i = 0; i < 8; i++) expect(await net.ask(`say h${i} ${i}`)).toBe(`${i}`);
    for (let i = 0; i < 8; i++) await net.ask(`close h${i}`);
  });

  test('counts; persistence; UDP; marks are not for it', async () => {
    const persistence = { timeoutS: 300, netmask: '255.255.255.255' };
    const stays = service([server(1), server(2), server(3)], 'rr', [], { persistence });
    const udp = service([server(3)], 'rr', [], {
      id: { protocol: 'udp', address: vip, port: 80 },
    });
    expect(await planes[0]?.apply([plan(stays), plan(udp)])).toEqual({ ok: true });
    hold(1);
    const got = new Set(await names(6));
    expect(got.size).toBe(1);
    expect(await net.ask(`udp ${vip} 80`)).toBe('s3');
    await net.ask(`open k ${vip} 80`);
    const n = Number([...got][0]?.slice(1));
    const name = linkKey({ service: stays }, n - 1);
    const [connections, traffic] = [await planes[0]?.connections(), await planes[0]?.traffic()];
    expect(connections?.ok && connections.value.get(name)).toEqual({ active: 1, inactive: 6 });
    const seen = traffic?.ok ? traffic.value.get(name) : undefined;
    expect(seen?.connections).toBeGreaterThanOrEqual(7);
    expect(seen?.inPackets).toBeGreaterThan(20);
    await net.ask('close k');
    const mark = service([server(1)], 'rr', [], { id: { protocol: 'fwmark', mark: 7 } });
    expect(await planes[0]?.apply([plan(mark)])).toMatchObject({ errno: 'EOPNOTSUPP' });
  });

  test('50 changes under 500 connections: every one is answered; a table of somebody else is left alone', async () => {
    await apply(1, service([server(1), server(2)]));
    hold(1);
    let open = true;
    const answers = names(500).finally(() => {
      open = false;
    });
    let changes = 0;
    for (; open || changes < 50; changes++) {
      const all = [server(1, 1 + (changes % 5)), server(2, changes % 3), server(3)];
      const servers = changes % 2 ? all : all.slice(0, 2);
      if (changes % 3) await apply(1, service(servers, 'wrr'));
      else await apply(1, service(servers, 'sh', ['sh-port', 'sh-fallback']));
    }
    const got = await answers;
    expect(got.filter((name) => !/^s[123]$/.test(name))).toEqual([]);
    expect(got).toHaveLength(500);
    const inS2 = (...args: string[]): string =>
      net.inside('s2', ...net.nftOf('').slice(4), ...args);
    inS2('add', 'table', 'netdev', 'ssi_lvs');
    expect(await planes[1]?.apply([plan(service([server(1)]))])).toMatchObject({ errno: 'EBUSY' });
    expect(inS2('list', 'tables')).toContain('table netdev ssi_lvs');
    inS2('delete', 'table', 'netdev', 'ssi_lvs');
  });
});
