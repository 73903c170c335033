// Routers of three nodes in one process, each with a membership that the test plays.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { clms, ics as contract, ok, type ServiceEndpoint, type View } from '@ssi/contracts';
import { createIcs, type IcsEndpoint, linkRouter, MemoryBus } from '@ssi/ics';
import { type Clock, noLog, seededRandom } from '@ssi/ports';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { fakeProber } from '../src/adapters/prober.fake.ts';
import { fileRevocations } from '../src/adapters/revocations.file.ts';
import type { RevocationStore } from '../src/ports.ts';
import { createIcsRouter, type Router } from '../src/service.ts';
import { life, viewOf } from './view.ts';

const clock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (delayMs, fn) => {
    const timer = setTimeout(fn, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};
const random = seededRandom(7);
const allUp = viewOf(5, [
  [1, 'UP', 1],
  [2, 'UP', 1],
  [3, 'UP', 1],
]);
const twoDead = viewOf(6, [
  [1, 'UP', 1],
  [2, 'KCLEANUP', 1],
  [3, 'UP', 1],
]);

interface Node {
  num: number;
  membership: IcsEndpoint;
  router: Router;
  bus: IcsEndpoint;
  view: View;
}
let bus: MemoryBus;
let nodes: Map<number, Node>;
const rtt = new Map<string, number | undefined>();
const closing: (() => Promise<void>)[] = [];

const endpoint = (node: number, service: string): IcsEndpoint => {
  const ics = createIcs({
    node,
    service,
    clock,
    random,
    transports: [bus.transport({ node, service })],
    checkReplies: true,
  });
  closing.push(() => ics.close());
  return ics;
};

async function boot(num: number, revocations?: RevocationStore): Promise<Node> {
  const membership = endpoint(num, 'clms');
  const node = { num, membership, view: allUp } as Node;
  membership.serve(clms, {
    attach: () => {
      const self = { num, incarnation: life(1) };
      membership.setView(node.view, self);
      return ok({ view: node.view, self, leased: true, cluster: 'test' });
    },
  });
  node.bus = endpoint(num, 'ics');
  node.router = createIcsRouter({
    ics: node.bus,
    clock,
    random,
    log: noLog,
    prober: fakeProber(rtt),
    ...(revocations && { revocations }),
    addresses: [`10.0.0.${num}`, `10.1.0.${num}`],
    tcpPort: 4_000 + num,
    pid: 0,
    setMap: () => {},
  });
  closing.push(() => node.router.stop());
  await node.router.start();
  nodes.set(num, node);
  return node;
}

/** Another process of the router, which finds what the former one left. */
async function reboot(num: number, revocations: RevocationStore): Promise<void> {
  const { router, bus, membership } = at(num);
  await router.stop();
  await bus.close();
  await membership.close();
  await boot(num, revocations);
}

const at = (num: number): Node => {
  const node = nodes.get(num);
  if (!node) throw new Error(`node ${num} was not started`);
  return node;
};

/** A service of a node that follows the map. */
function service(node: number, name: string) {
  const ics = endpoint(node, name);
  const maps: (readonly ServiceEndpoint[])[] = [];
  let known: readonly string[] = [];
  const link = linkRouter({
    ...{ ics, clock, tcp: [] },
    setMap: (map, revoked = []) => {
      maps.push(map);
      known = revoked;
    },
  });
  closing.push(async () => link.stop());
  const self = { num: node, incarnation: life(1) };
  ics.setView(allUp, self);
  link.self(self);
  const services = (): string[] => (maps.at(-1) ?? []).map((e) => `${e.node}/${e.service}`);
  return { ics, link, services, revoked: () => known };
}

const applyView = async (num: number, view: View): Promise<void> => {
  const node = at(num);
  node.view = view;
  const self = { num, incarnation: life(1) };
  await node.membership.call(contract, 'view', num, { view, self, leased: true });
};

beforeEach(async () => {
  bus = new MemoryBus();
  nodes = new Map();
  rtt.clear();
  for (const num of [1, 2, 3]) await boot(num);
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

describe('ICS: router', () => {
  test('every service learns where every other one is', async () => {
    const one = service(1, 'vproc');
    const three = service(3, 'vproc');
    const all = ['1/ics', '1/vproc', '2/ics', '3/ics', '3/vproc'];
    await vi.waitFor(() => expect(one.services()).toEqual(all), 5_000);
    await vi.waitFor(() => expect(three.services()).toEqual(all), 5_000);
  });

  test('a router that was restarted gets the map again, and its services register again', async () => {
    const one = service(1, 'vproc');
    const two = service(2, 'vproc');
    const all = ['1/ics', '1/vproc', '2/ics', '2/vproc', '3/ics'];
    await vi.waitFor(() => expect(one.services()).toEqual(all), 5_000);
    await at(2).router.stop();
    await at(2).bus.close();
    nodes.delete(2);
    // Its death only delays news: the map that is known stays.
    expect(two.services()).toEqual(all);
    await boot(2);
    const again = service(3, 'vproc');
    const more = [...all, '3/vproc'];
    for (const s of [one, two, again])
      await vi.waitFor(() => expect(s.services()).toEqual(more), 10_000);
  });

  test('nodedown: entries dropped, local services told, channel down; then EHOSTDOWN', async () => {
    const one = service(1, 'vproc');
    service(2, 'vproc');
    await vi.waitFor(() => expect(one.services()).toContain('2/vproc'), 5_000);
    const channels = async () => {
      const reply = await endpoint(0, 'client_a').call(contract, 'channels', 1, {});
      return reply.ok ? Object.fromEntries(reply.value.channels.map((c) => [c.node, c.state])) : {};
    };
    await vi.waitFor(async () => expect(await channels()).toEqual({ 2: 'up', 3: 'up' }), 5_000);
    await applyView(1, twoDead);
    const dead = [{ num: 2, incarnation: life(1) }];
    const step = await at(1).membership.call(contract, 'nodedown', 1, { transid: 6, dead });
    expect(step.ok).toBe(true);
    // The acknowledgement says that local services go by the new map already.
    expect(one.services()).toEqual(['1/ics', '1/vproc', '3/ics']);
    expect(await channels()).toEqual({ 2: 'down', 3: 'up' });
    const q = { service: 'vproc', peer: 2, purpose: 'move' };
    expect(await one.ics.call(contract, 'grant', 1, q)).toMatchObject({ errno: 'EHOSTDOWN' });
    const peer = { num: 2, incarnation: life(1) };
    expect(await one.ics.call(contract, 'route', 1, { peer })).toMatchObject({
      errno: 'EHOSTDOWN',
    });
    // Idempotent.
    const again = await at(1).membership.call(contract, 'nodedown', 1, { transid: 6, dead });
    expect(again.ok).toBe(true);
  });

  test('a grant is a new token each time, addresses in the order in which interconnects answer', async () => {
    const one = service(1, 'vproc');
    const q = { service: 'vproc', peer: 2, purpose: 'move' };
    const grant = () => one.ics.call(contract, 'grant', 1, q);
    const [a, b] = [await grant(), await grant()];
    if (!a.ok || !b.ok) throw new Error('no grant');
    expect(a.value.token).not.toBe(b.value.token);
    expect(a.value.addresses).toEqual(['10.0.0.1', '10.1.0.1']);
    // The first interconnect to node 2 is cut.
    rtt.set('10.0.0.2', undefined);
    rtt.set('10.1.0.2', 0.3);
    await vi.waitFor(
      async () => {
        const c = await grant();
        expect(c.ok && c.value.addresses).toEqual(['10.1.0.1', '10.0.0.1']);
      },
      { timeout: 8_000 },
    );
    const peer = { num: 2, incarnation: life(1) };
    const route = await one.ics.call(contract, 'route', 1, { peer });
    expect(route).toMatchObject({ ok: true, value: { addresses: ['10.1.0.2', '10.0.0.2'] } });
  });

  test('EPERM: a service of another node; ESTALE: another service, another life; EAGAIN: no view yet', async () => {
    const one = service(1, 'vproc');
    await one.link.registered;
    const request = {
      node: 1,
      service: 'vproc',
      incarnation: life(1),
      bootId: one.ics.self.bootId,
      tcp: [],
    };
    const register = (to: number, change: object) =>
      one.ics.call(contract, 'register', to, { ...request, ...change });
    expect(await register(2, {})).toMatchObject({ errno: 'EPERM' });
    expect(await register(1, { service: 'dlm' })).toMatchObject({ errno: 'ESTALE' });
    expect(await register(1, { incarnation: life(2) })).toMatchObject({ errno: 'ESTALE' });
    const watch = await one.ics.call(contract, 'watch', 2, { service: 'vproc', digest: '' });
    expect(watch).toMatchObject({ errno: 'EPERM' });
    const lone = createIcsRouter({
      ics: endpoint(9, 'ics'),
      clock,
      random,
      log: noLog,
      prober: fakeProber(rtt),
      addresses: [],
      tcpPort: 0,
      pid: 0,
      setMap: () => {},
    });
    closing.push(() => lone.stop());
    const nine = endpoint(9, 'vproc');
    const early = { ...request, node: 9, bootId: nine.self.bootId };
    expect(await nine.call(contract, 'register', 9, early)).toMatchObject({ errno: 'EAGAIN' });
    const peer = { num: 1, incarnation: life(1) };
    expect(await nine.call(contract, 'route', 9, { peer })).toMatchObject({ errno: 'EAGAIN' });
  });

  test('what was revoked is with every service within a second, and outlives all routers', async () => {
    const dir = mkdtempSync(`${tmpdir()}/ssi-revoked-`);
    try {
      const kept = (num: number) => fileRevocations(`${dir}/n${num}/revoked.json`);
      for (const num of [1, 2, 3]) await reboot(num, kept(num));
      const far = service(3, 'vproc');
      await far.link.registered;
      const startMs = performance.now();
      const admin = endpoint(0, 'admin_0_0');
      admin.setView(allUp);
      expect((await admin.call(contract, 'revoke', 1, { revoked: ['01ab'] })).ok).toBe(true);
      await vi.waitFor(() => expect(far.revoked()).toEqual(['01ab']), { interval: 5 });
      expect(performance.now() - startMs).toBeLessThan(1_000);
      // Nobody is left who could tell.
      for (const num of [1, 2, 3]) await at(num).router.stop();
      const known = (num: number): readonly string[] => kept(num).load();
      await vi.waitFor(() => expect([1, 2, 3].map(known)).toEqual([['01ab'], ['01ab'], ['01ab']]));
      for (const num of [1, 2, 3]) await reboot(num, kept(num));
      const late = service(2, 'vproc');
      await late.link.registered;
      expect(late.revoked()).toEqual(['01ab']);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
