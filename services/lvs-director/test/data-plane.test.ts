// One suite for every data plane, in network namespaces of the test's own, with clients and servers that are
// processes: nftables, and the user-space proxy as a process in the director's namespace.
import type { RealServer, SchedulerName, VirtualService } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { candidateOf, type DataPlane, nftDataPlane, type Planned, placesOf } from '../src/index.ts';
import { Net, vip, whyNoNet } from './net.ts';
import { remotePlane } from './remote-plane.ts';

const reason = whyNoNet();

const server = (n: number, weight = 1, more: Partial<RealServer> = {}): RealServer => ({
  ...{ address: `10.1.0.${n}`, port: 8080, forward: 'masq', weight, upper: 0, lower: 0 },
  ...more,
});

const service = (
  servers: RealServer[],
  scheduler: SchedulerName = 'rr',
  more: Partial<VirtualService> = {},
): VirtualService => ({
  ...{ id: { protocol: 'tcp', address: vip, port: 80 }, scheduler, flags: [], servers },
  ...more,
});

const plan = (s: VirtualService, active: number[] = []): Planned => {
  const candidates = s.servers.map((r, i) => ({ ...candidateOf(r), active: active[i] ?? 0 }));
  return { service: s, places: placesOf(s, candidates, { random: seededRandom(1), atMs: 0 }) };
};

const other = { protocol: 'tcp', address: vip, port: 81 } as const;
const persistence = { timeoutS: 300, netmask: '255.255.255.255' };

const backends = {
  // In the director's namespace too: places by netlink.
  nftables: {
    make: (net: Net) => remotePlane(net.plane('nftables')),
    refused: 'ConnectionRefusedError',
  },
  // It has taken the connection before it knows.
  proxy: { make: (net: Net) => remotePlane(net.plane('proxy')), refused: 'ConnectionResetError' },
};

describe
  .skipIf(reason)
  .each(Object.entries(backends).map(([name, backend]) => ({ name, ...backend })))(
  `LVS: data plane: $name${reason ? ` (${reason})` : ''}`,
  ({ name: backend, make, refused }) => {
    const nftTest = test.runIf(backend === 'nftables');
    let net: Net;
    let plane: DataPlane;
    let before: string;

    beforeAll(async () => {
      net = await Net.start(3);
      net.nft('add', 'table', 'ip', 'somebody');
      before = net.nft('list', 'ruleset');
      plane = make(net);
      // Its program runs: no test waits for that.
      expect(await plane.clear()).toEqual({ ok: true });
    });
    afterEach(async () => {
      expect(await plane.clear()).toEqual({ ok: true });
      expect(net.nft('list', 'ruleset')).toBe(before);
    });
    afterAll(() => net?.stop());

    async function apply(...services: VirtualService[]): Promise<void> {
      expect(await plane.apply(services.map((s) => plan(s)))).toEqual({ ok: true });
    }
    const names = async (n: number, from = '', port = 80): Promise<string[]> =>
      (await net.ask(`many ${n} ${vip} ${port} ${from}`)).split(' ');
    const tally = (all: string[]): Record<string, number> => {
      const found: Record<string, number> = {};
      for (const name of all) found[name] = (found[name] ?? 0) + 1;
      return found;
    };

    test('rr: in turn; wrr: as the weights say; and ruleset can be listed', async () => {
      await apply(service([server(1), server(2), server(3)]));
      expect(tally(await names(30))).toEqual({ s1: 10, s2: 10, s3: 10 });
      await apply(service([server(1, 4), server(2, 2), server(3, 0)], 'wrr'));
      expect(tally(await names(30))).toEqual({ s1: 20, s2: 10 });
      if (backend === 'nftables') expect(net.nft('list', 'ruleset')).toContain('ssi_lvs');
    });

    test('a connection stays where it is through weights, quiesce and removal; new ones do not go there', async () => {
      await apply(service([server(1), server(2)]));
      const first = await net.ask(`open a ${vip} 80`);
      const other = first === 's1' ? 2 : 1;
      await apply(service([server(1, other === 1 ? 5 : 0), server(2, other === 2 ? 5 : 0)], 'wrr'));
      expect(await net.ask('say a still')).toBe('still');
      expect(tally(await names(10))).toEqual({ [`s${other}`]: 10 });
      await apply(service([server(other)]));
      expect(await net.ask('say a there')).toBe('there');
      expect(tally(await names(10))).toEqual({ [`s${other}`]: 10 });
      await net.ask('close a');
    });

    test('nobody may: refused at once, not taken by a local listener', async () => {
      await apply(service([server(1, 0)]));
      const began = performance.now();
      expect(await net.ask(`open a ${vip} 80`)).toBe(`error ${refused}`);
      expect(performance.now() - began).toBeLessThan(2_000);
    });

    test('sh and mh: a client comes to the same server; many clients to all', async () => {
      for (const scheduler of ['sh', 'mh'] as const) {
        await apply(service([server(1), server(2), server(3)], scheduler));
        const seen: string[] = [];
        for (let n = 100; n < 140; n++) {
          const got = new Set(await names(3, `10.9.0.${n}`));
          expect(got.size).toBe(1);
          seen.push(...got);
        }
        expect(Object.keys(tally(seen)).sort()).toEqual(['s1', 's2', 's3']);
      }
    });

    test('mh: one of three leaves: the clients of the others stay', async () => {
      await apply(service([server(1), server(2), server(3)], 'mh'));
      const where = async () => {
        const all: string[] = [];
        for (let n = 100; n < 140; n++) all.push(...(await names(1, `10.9.0.${n}`)));
        return all;
      };
      const was = await where();
      await apply(service([server(1), server(3)], 'mh'));
      const is = await where();
      const strayed = was.filter((name, i) => name !== 's2' && name !== is[i]).length;
      expect(strayed).toBeLessThanOrEqual(1);
      expect(is).not.toContain('s2');
    });

    test('persistence: each client stays with one, also when it is quiesced; another when it has gone', async () => {
      await apply(service([server(1), server(2), server(3)], 'rr', { persistence }));
      const mine = new Set(await names(9, '10.9.0.100'));
      expect(mine.size).toBe(1);
      const [at] = mine;
      const n = Number(at?.slice(1));
      const rest = [1, 2, 3].filter((i) => i !== n);
      const all = (weight: number) => [1, 2, 3].map((i) => server(i, i === n ? weight : 1));
      await apply(service(all(0), 'rr', { persistence }));
      expect(new Set(await names(4, '10.9.0.100'))).toEqual(mine);
      expect(await names(8, '10.9.0.101')).not.toContain(at);
      await apply(
        service(
          rest.map((i) => server(i)),
          'rr',
          { persistence },
        ),
      );
      const next = new Set(await names(4, '10.9.0.100'));
      expect(next.size).toBe(1);
      expect(next).not.toContain(at);
      // And without persistence again.
      await apply(service(rest.map((i) => server(i))));
      expect(Object.keys(tally(await names(8, '10.9.0.100'))).length).toBe(2);
    });

    nftTest('persistence: by netmask, and until its time has passed', async () => {
      await apply(
        service([server(1), server(2)], 'rr', {
          persistence: { timeoutS: 1, netmask: '255.255.255.0' },
        }),
      );
      const together = new Set([
        ...(await names(3, '10.9.0.100')),
        ...(await names(3, '10.9.0.105')),
      ]);
      expect(together.size).toBe(1);
      for (const end = performance.now() + 5_000; ; ) {
        const listed = net.nft('list', 'table', 'ip', 'ssi_lvs');
        if (!listed.includes('10.9.0.0 ')) break;
        expect(performance.now()).toBeLessThan(end);
        await new Promise((done) => setTimeout(done, 50));
      }
      expect(new Set(await names(1, '10.9.0.100'))).not.toEqual(together);
    });

    test('fullnat: the server sees the director; masq: the client; the director itself may be a server', async () => {
      net.inside('s1', 'ip', 'route', 'del', 'default');
      await apply(service([server(1, 1, { forward: 'fullnat' })]));
      expect(await names(2)).toEqual(['s1', 's1']);
      net.inside('s1', 'ip', 'route', 'add', 'default', 'via', '10.1.0.254');
      await net.serve('director', 'here', 8081);
      await apply(service([server(0, 1, { address: '10.9.0.254', port: 8081 })]));
      expect(await names(2)).toEqual(['here', 'here']);
    });

    nftTest('UDP, marks, and all ports of the address beside one of another service', async () => {
      await net.serve('s3', 's3-9090', 9090);
      net.nft(
        'add',
        'chain',
        'ip',
        'somebody',
        'marks',
        '{ type filter hook prerouting priority -150; }',
      );
      net.nft(
        'add',
        'rule',
        'ip',
        'somebody',
        'marks',
        'tcp',
        'dport',
        '7000-7010',
        'meta',
        'mark',
        'set',
        '7',
      );
      await apply(
        service([server(1)], 'rr', { id: { protocol: 'udp', address: vip, port: 53 } }),
        service([server(2)], 'rr', { id: { protocol: 'fwmark', mark: 7 } }),
        service([server(3, 1, { port: 0 })], 'rr', {
          id: { protocol: 'tcp', address: vip, port: 0 },
          persistence,
        }),
      );
      expect(await net.ask(`udp ${vip} 53`)).toBe('s1');
      expect(await names(2, '', 7003)).toEqual(['s2', 's2']);
      expect(await names(1, '', 9090)).toEqual(['s3-9090']);
      expect(await names(1, '', 8080)).toEqual(['s3']);
      net.nft('delete', 'chain', 'ip', 'somebody', 'marks');
    });

    test('counts: connections by server from conntrack, and traffic', async () => {
      await apply(service([server(1), server(2)]));
      for (const name of ['a', 'b', 'c']) await net.ask(`open ${name} ${vip} 80`);
      const found = await plane.connections();
      const traffic = await plane.traffic();
      if (!found.ok || !traffic.ok) throw new Error('no counts');
      const key = (n: number) => `-t ${vip}:80 10.1.0.${n}:8080`;
      const active = [1, 2].map((n) => found.value.get(key(n))?.active);
      expect([...active].sort()).toEqual([1, 2]);
      const begun = [1, 2].map((n) => traffic.value.get(key(n))?.connections);
      expect([...begun].sort()).toEqual([1, 2]);
      // A packet of the proxy's is what it read: it has seen the server's name and its line end.
      const [inPackets, outBytes] = backend === 'proxy' ? [0, 3] : [2, 100];
      expect(traffic.value.get(key(1))?.inPackets).toBeGreaterThanOrEqual(inPackets);
      expect(traffic.value.get(key(1))?.outBytes).toBeGreaterThanOrEqual(outBytes);
      for (const name of ['a', 'b', 'c']) await net.ask(`close ${name}`);
    });

    test.runIf(backend === 'proxy')(
      'UDP; lc exactly, connection by connection; what it cannot do is refused',
      async () => {
        const udp = { protocol: 'udp', address: vip, port: 53 } as const;
        await apply(
          service([server(1), server(2)], 'rr', { id: udp }),
          service([server(2), server(3)], 'lc'),
        );
        expect([await net.ask(`udp ${vip} 53`), await net.ask(`udp ${vip} 53`)]).toEqual([
          's1',
          's2',
        ]);
        const open = (n: string) => net.ask(`open ${n} ${vip} 80`);
        expect([await open('a'), await open('b'), await open('c')]).toEqual(['s2', 's3', 's2']);
        await net.ask('close a');
        await net.ask('close c');
        await expect
          .poll(async () => {
            const found = await plane.connections();
            return found.ok && found.value.get(`-t ${vip}:80 10.1.0.2:8080`);
          })
          .toEqual({ active: 0, inactive: 0 });
        expect([await open('d'), await open('e')]).toEqual(['s2', 's2']);
        for (const n of ['b', 'd', 'e']) await net.ask(`close ${n}`);
        const mark = plan(service([server(2)], 'rr', { id: { protocol: 'fwmark', mark: 7 } }));
        expect(await plane.apply([mark])).toMatchObject({ errno: 'EOPNOTSUPP' });
        await net.serve('director', 'other', 81);
        const taken = [plan(service([server(2)], 'rr', { id: other })), plan(service([server(1)]))];
        expect(await plane.apply(taken)).toMatchObject({ errno: 'EBUSY' });
        const away = { protocol: 'tcp', address: '10.77.0.1', port: 80 } as const;
        expect(await plane.apply([plan(service([server(2)], 'rr', { id: away }))])).toMatchObject({
          ...{ errno: 'EIO', detail: '10.77.0.1:80 is no address of this machine' },
        });
        expect((await names(2)).every((name) => name === 's2' || name === 's3')).toBe(true);
      },
    );

    nftTest('wlc by the counts of the moment: the next ones go where there is least', async () => {
      const s = service([server(1), server(2), server(3, 2)], 'wlc');
      expect(await plane.apply([plan(s, [40, 0, 40])])).toEqual({ ok: true });
      // 20 to s2 until both have 20 for each unit of weight, then one to s2 for two to s3, s2 first.
      expect(tally(await names(40))).toEqual({ s2: 27, s3: 13 });
    });

    nftTest('all or nothing: what is refused leaves the former rules at work', async () => {
      await apply(service([server(1)]));
      const listed = net.nft('list', 'table', 'ip', 'ssi_lvs');
      const bad = plan(service([server(3, 1, { address: '10.1.0.999' })], 'rr', { id: other }));
      const refused = await plane.apply([plan(service([server(2)])), bad]);
      expect(refused).toMatchObject({ ok: false, errno: 'EIO' });
      const route = service([server(2, 1, { forward: 'route', port: 80 })]);
      expect(await plane.apply([plan(route)])).toEqual({
        ...{ ok: false, errno: 'EOPNOTSUPP', detail: `-t ${vip}:80: nftables cannot do route` },
      });
      expect(net.nft('list', 'table', 'ip', 'ssi_lvs')).toBe(listed);
      expect(await names(2)).toEqual(['s1', 's1']);
    });

    // Each change is a process or two.
    test('50 changes of servers and weights under 500 connections: every one is answered', {
      timeout: 60_000,
    }, async () => {
      await apply(service([server(1), server(2)], 'wrr'));
      let open = true;
      const answers = names(500).finally(() => {
        open = false;
      });
      let changes = 0;
      while (open || changes < 50) {
        const all = [server(1, 1 + (changes % 5)), server(2, changes % 3), server(3)];
        const servers = changes % 2 ? all : all.slice(0, 2);
        // Without fallback sh refuses the clients of a quiesced server.
        if (changes % 7) await apply(service(servers, 'wrr'));
        else await apply(service(servers, 'sh', { flags: ['sh-fallback'] }));
        changes++;
      }
      const got = await answers;
      expect(got.slice(0, 2)).not.toContain('error');
      expect(got.length).toBe(500);
      expect(Object.keys(tally(got)).every((name) => /^s[123]$/.test(name))).toBe(true);
      expect(changes).toBeGreaterThanOrEqual(50);
    });

    nftTest(
      'another life finds its table and goes on; one that is somebody else’s is left alone',
      async () => {
        await apply(service([server(1)]));
        const next = nftDataPlane(net.adapter);
        expect(await next.apply([plan(service([server(2)]))])).toEqual({ ok: true });
        expect(await names(2)).toEqual(['s2', 's2']);
        expect(await next.clear()).toEqual({ ok: true });
        net.nft('add', 'table', 'ip', 'ssi_lvs');
        const third = nftDataPlane(net.adapter);
        expect(await third.apply([plan(service([server(1)]))])).toMatchObject({ errno: 'EBUSY' });
        expect(await third.clear()).toEqual({ ok: true });
        expect(net.nft('list', 'tables')).toContain('table ip ssi_lvs');
        net.nft('delete', 'table', 'ip', 'ssi_lvs');
      },
    );

    nftTest('nft that is not there is an errno', async () => {
      const none = nftDataPlane({ nft: ['/nonexistent/nft'], conntrack: ['/nonexistent/cat'] });
      expect(await none.apply([plan(service([server(1)]))])).toMatchObject({ errno: 'EIO' });
      expect(await none.connections()).toMatchObject({ errno: 'EIO' });
      expect(await none.clear()).toMatchObject({ errno: 'EIO' });
    });
  },
);
