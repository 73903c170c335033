// The director as a service: who directs, what is kept, who is in the pools, what is refused.
import { lvs, type RealServer, type TableChange } from '@ssi/contracts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Cluster, until } from './cluster.ts';

const address = '10.0.0.200';
const id = { protocol: 'tcp', address, port: 80 } as const;
const server = (n: number, more: Partial<RealServer> = {}): RealServer => ({
  ...{ address: `10.0.0.${n}`, port: 80, forward: 'route', weight: 1, upper: 0, lower: 0 },
  ...more,
});
const addAddress: TableChange = { do: 'add-address', address };
const addService: TableChange = {
  ...{ do: 'add-service', service: { id, scheduler: 'rr', flags: [] } },
};
const addServer = (n: number, more: Partial<RealServer> = {}): TableChange => ({
  ...{ do: 'add-server', id, server: server(n, more) },
});
const ports = { start: 8000, end: 8100, protocol: 'tcp', weight: 2, scheduler: 'rr', flags: [] };
const addPorts = { do: 'add-ports', ports } as TableChange;

let cluster: Cluster;
const poolOf = async (to: number, port = 80): Promise<string[]> => {
  const told = await cluster.table(to);
  const pools = told.ok ? told.value.pools : [];
  const found = pools.find((s) => s.id.protocol !== 'fwmark' && s.id.port === port);
  return found?.servers.map((s) => s.address) ?? [];
};
const directs = (num: number): Promise<void> =>
  until(`node ${num} directs`, async () => (await cluster.table(num)).ok);

describe('LVS: the service', () => {
  beforeEach(async () => {
    cluster = new Cluster();
    await cluster.start(1, 2, 3);
    cluster.tell(1);
    await directs(1);
  });
  afterEach(() => cluster.stop());

  test('the active node answers for the address, the others say where; every node keeps the table', async () => {
    expect(await cluster.change(1, addAddress, addService, addServer(2))).toMatchObject({
      ...{ ok: true, value: { version: { counter: 1 } } },
    });
    expect(cluster.network.holders(address)).toEqual([1]);
    expect(await cluster.table(2)).toMatchObject({ errno: 'EREMCHG', node: 1 });
    expect(await cluster.change(3, addService)).toMatchObject({ errno: 'EREMCHG', node: 1 });
    for (const num of [1, 2, 3]) {
      const kept = await cluster.nodes.get(num)?.store.load();
      expect(kept?.table.services[0]?.servers).toEqual([server(2)]);
      expect(cluster.network.shared.get(num)).toEqual([address]);
    }
  });

  test('its death: another takes the table and the connections over', async () => {
    await cluster.change(1, addAddress, addService, addServer(2), addServer(3));
    const flow = { protocol: 'tcp', client: '10.0.0.9', clientPort: 4000, address, port: 80 };
    cluster.network.flows.set(3, [flow as never]);
    await cluster.die(1);
    cluster.tell(2);
    await directs(2);
    expect(cluster.network.holders(address)).toEqual([2]);
    expect(await poolOf(2)).toEqual(['10.0.0.2', '10.0.0.3']);
    expect([...(cluster.network.followed.get(2) ?? [])]).toEqual([['10.0.0.9:4000', '10.0.0.3']]);
    // What the new one is told outlives it too.
    await cluster.change(2, { do: 'delete-server', id, server: server(2) });
    await cluster.die(2);
    cluster.tell(3);
    await directs(3);
    expect(await poolOf(3)).toEqual(['10.0.0.3']);
  });

  test('without a lease it answers for nothing; with it again for the same', async () => {
    await cluster.change(1, addAddress, addService, addServer(2));
    cluster.leases.set(1, 0);
    await cluster.reboot(1); // A service that starts anew asks for its lease.
    expect(cluster.network.holders(address)).toEqual([]);
    expect(await cluster.change(1, addService)).toMatchObject({ errno: 'EAGAIN' });
    cluster.leases.set(1, 60_000);
    await directs(1);
    await until('the address is held', () => cluster.network.holders(address).includes(1));
    expect(await poolOf(1)).toEqual(['10.0.0.2']);
  });

  test('hand-over: it stands down before the other begins, and leaves nothing', async () => {
    await cluster.change(1, addAddress, addService, addServer(2));
    const since = cluster.key?.since ?? 0;
    cluster.key = { num: 1, since, to: 3 };
    cluster.tell();
    const membership = cluster.nodes.get(2)?.membership;
    const q = { name: 'lvs', since };
    expect(await membership?.call(lvs, 'standDown', 1, q)).toMatchObject({ ok: true });
    expect(cluster.network.holders(address)).toEqual([]);
    expect(cluster.network.planned.has(1)).toBe(false);
    expect(await cluster.table(1)).toMatchObject({ errno: 'EAGAIN' });
    cluster.tell(3);
    await directs(3);
    expect(cluster.network.holders(address)).toEqual([3]);
    expect(await poolOf(3)).toEqual(['10.0.0.2']);
  });

  test('a server whose node is not UP is out of its pool, and back with it', async () => {
    await cluster.change(1, addAddress, addService, addServer(2), addServer(3, { node: 3 }));
    expect(await poolOf(1)).toEqual(['10.0.0.2', '10.0.0.3']);
    cluster.states.set(3, 'SHUTDOWN');
    cluster.tell();
    await until('it is out', async () => (await poolOf(1)).length === 1);
    const told = await cluster.table(1);
    expect(told.ok && told.value.out).toEqual({ '-t 10.0.0.200:80 10.0.0.3:80': 'node' });
    cluster.states.set(3, 'UP');
    cluster.tell();
    await until('it is back', async () => (await poolOf(1)).length === 2);
  });

  test('ports: who listens is a server, on any node; who no longer listens is not', async () => {
    await cluster.change(1, addAddress, addPorts);
    expect(await poolOf(1, 8000)).toEqual([]);
    cluster.network.listeners.set(3, [
      { protocol: 'tcp', port: 8000 },
      { protocol: 'tcp', port: 9000 },
    ]);
    await until('it joined', async () => (await poolOf(1, 8000)).length === 1);
    expect(await poolOf(1, 8000)).toEqual(['10.0.0.3']);
    expect(await poolOf(1, 9000)).toEqual([]);
    // It moved.
    cluster.network.listeners.set(3, []);
    cluster.network.listeners.set(1, [{ protocol: 'tcp', port: 8000 }]);
    await until('it went along', async () => (await poolOf(1, 8000)).join() === '10.0.0.1');
    cluster.network.listeners.set(1, []);
    await until('it left', async () => (await poolOf(1, 8000)).length === 0);
  });

  test('bad input: each its errno, and nothing is changed', async () => {
    await cluster.change(1, addAddress, addService, addServer(2));
    const before = await cluster.table(1);
    cluster.network.others.add('10.0.0.77');
    const bad: [string, TableChange][] = [
      ['EADDRNOTAVAIL', { do: 'add-address', address: '192.168.7.7' }],
      ['EADDRINUSE', { do: 'add-address', address: '10.0.0.77' }],
      ['EEXIST', addAddress],
      ['ENOENT', { do: 'delete-address', address: '10.0.0.5' }],
      ['EBUSY', { do: 'delete-address', address }],
      ['EEXIST', addService],
      ['EINVAL', addServer(3, { node: 9 })],
      ['EINVAL', addServer(3, { lower: 5, upper: 3 })],
      ['EOPNOTSUPP', addServer(3, { forward: 'masq' })],
      ['ENOENT', { do: 'delete-server', id, server: server(9) }],
      ['ENOENT', { do: 'delete-service', id: { ...id, port: 81 } }],
      ['EINVAL', { ...addPorts, ports: { ...ports, end: 7000 } } as TableChange],
      ['EINVAL', { ...addPorts, ports: { ...ports, end: 60000 } } as TableChange],
      ['ENOENT', { do: 'delete-ports', ports: { start: 1, end: 2, protocol: 'tcp' } }],
    ];
    for (const [errno, change] of bad) {
      const reply = await cluster.change(
        1,
        { do: 'add-ports', ports: { ...ports, start: 8100 } } as TableChange,
        change,
      );
      expect({ change, reply }).toMatchObject({ change, reply: { ok: false, errno } });
    }
    const alien = {
      ...addService,
      service: { id: { ...id, address: '10.0.0.201' }, scheduler: 'rr', flags: [] },
    };
    expect(await cluster.change(1, alien as TableChange)).toMatchObject({ errno: 'EADDRNOTAVAIL' });
    expect(await cluster.change(1, addPorts, addPorts)).toMatchObject({ errno: 'EBUSY' });
    const none = { ...addServer(3), server: { ...server(3), weight: -1 } };
    expect(await cluster.change(1, none as TableChange)).toMatchObject({ errno: 'EBADMSG' });
    cluster.network.refusals.set(1, 'nft: Operation not permitted');
    expect(await cluster.change(1, addServer(3))).toMatchObject({
      ...{ errno: 'EIO', detail: 'nft: Operation not permitted' },
    });
    cluster.network.refusals.delete(1);
    expect(await cluster.table(1)).toMatchObject({
      ok: true,
      value: { table: before.ok && before.value.table },
    });
    expect(await cluster.client.call(lvs, 'zero', 1, { id: { ...id, port: 9 } })).toMatchObject({
      errno: 'ENOENT',
    });
  });

  test('an older director’s table is not kept; a node that slept gets the newest', async () => {
    const keeper = cluster.nodes.get(3)?.ics;
    await cluster.change(1, addAddress);
    const q = {
      version: { epoch: 1, counter: 9 },
      table: { addresses: [], ports: [], services: [] },
    };
    expect(await keeper?.call(lvs, 'keep', 2, q)).toMatchObject({ errno: 'ESTALE' });
    await cluster.nodes.get(3)?.store.save({ version: { epoch: 0, counter: 0 }, table: q.table });
    await cluster.reboot(3);
    await until('it keeps it', async () => {
      const kept = await cluster.nodes.get(3)?.store.load();
      return kept?.table.addresses.length === 1;
    });
  });
});
