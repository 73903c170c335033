// How each service of a node is started in the simulation: what its main.ts does, with simulated
// adapters. All it is given ends with its life.
import { trace } from '@opentelemetry/api';
import { createActorHost } from '@ssi/client';
import type { ServiceEndpoint } from '@ssi/contracts';
import { createDlm } from '@ssi/dlm';
import { createIcs, type IcsEndpoint, linkRouter } from '@ssi/ics';
import { createIcsRouter, fakeProber } from '@ssi/ics-router';
import { createMembership, type HeartbeatMessage, type Membership, timing } from '@ssi/membership';
import type { Kv } from '@ssi/ports';
import type { DirectTransport, Life } from '@ssi/sim';
import { createVproc } from '@ssi/vproc';
import type { SimNode } from './node.ts';
import { startProbe } from './probe.ts';
import { type TallyEvent, tally } from './tally-actor.ts';

export const serviceNames = ['clms', 'ics', 'dlm', 'vproc', 'actor'] as const;
export type ServiceName = (typeof serviceNames)[number];

interface Opened {
  readonly ics: IcsEndpoint;
  readonly direct: DirectTransport;
}

function open(node: SimNode, service: string, life: Life): Opened {
  const { world } = node;
  const direct = world.direct.transport(node.num, life);
  const bus = world.bus.transport({ node: node.num, service }, node.num, life);
  const endpoint = createIcs({
    node: node.num,
    service,
    clock: life.clock,
    random: world.random(`${life.name}.ics`),
    transports: [direct, bus],
    log: world.journal.log(life.name),
    checkReplies: true,
  });
  const plain = node.calls.watch(endpoint, life);
  const linked = service === 'clms' || (service === 'dlm' && !node.locks);
  const watched = linked ? followMap(node, life, plain, direct) : plain;
  return { ics: node.plant?.ics?.(watched, service, node) ?? watched, direct };
}

/** Registers with the router of the node and goes by its map, as the endpoint of a process does. */
function followMap(
  node: SimNode,
  life: Life,
  ics: IcsEndpoint,
  direct: DirectTransport,
): IcsEndpoint {
  const link = linkRouter({
    ics,
    clock: life.clock,
    tcp: [{ host: node.address, port: direct.port }],
    setMap: (map) => direct.setMap(map),
  });
  return {
    ...ics,
    setView: (view, self) => {
      ics.setView(view, self);
      if (self) link.self(self);
    },
  };
}

/** Starts one life of a service. */
export function startService(node: SimNode, service: ServiceName, life: Life): void {
  const opened = open(node, service, life);
  if (service === 'clms') void startMembership(node, life, opened);
  else if (service === 'vproc') startVproc(node, life, opened);
  else if (service === 'ics') startRouter(node, life, opened);
  else if (service === 'actor') startActorHost(node, life, opened);
  else if (node.locks) startDlm(node, life, opened);
  else node.keyRole = startProbe(opened.ics, life, (token) => node.probed(token));
}

async function startMembership(node: SimNode, life: Life, { ics }: Opened): Promise<void> {
  const { world, num } = node;
  const channel = world.datagrams<HeartbeatMessage>().port(num, life);
  const store = world.store.client(num, life);
  const guard = node.plant?.guard?.(node.guard, node) ?? node.guard;
  const membership: Membership = await createMembership({
    config: {
      cluster: 'sim',
      num,
      name: `n${num}`,
      facts: {
        addresses: [node.address],
        cpus: 1,
        memBytes: 2 ** 30,
        kernel: 'fake',
        arch: 'x64',
        cpuFlags: ['sse2'],
        native: true,
        versions: {},
        keyServices: node.locks ? [] : ['dlm'],
      },
      pidBits: 16,
      services: ['ics', 'dlm', 'vproc'],
      quorum: {},
      timing,
    },
    clock: life.clock,
    random: world.random(life.name),
    log: world.journal.log(life.name),
    kv: attempted(node.plant?.kv?.(store) ?? store, life),
    ics,
    heartbeats: { ...channel, setPeers: () => {}, ports: { udp: 1, tcp: 1 } },
    guard: life.mortal(guard, 'guard'),
    disk: life.mortal(node.disk, 'disk'),
    publishEvent: (event, body) =>
      world.journal.detail(life.name, `event ${event}`, { body: JSON.stringify(body) }),
  });
  node.membership = membership;
  const reason = await membership.ended;
  world.journal.event(life.name, 'membership ended', { reason });
}

/** Each call to the store is a step at which its caller may die. */
const attempted = (kv: Kv, life: Life): Kv => ({
  get: (key) => life.attempt('kv', 'get', () => kv.get(key)),
  compareAndSet: (key, value, expected) =>
    life.attempt('kv', 'compareAndSet', () => kv.compareAndSet(key, value, expected)),
  watch: (key, onEntry) => life.attempt('kv', 'watch', () => kv.watch(key, onEntry)),
  close: () => kv.close(),
});

function startActorHost(node: SimNode, life: Life, { ics, direct }: Opened): void {
  const { world, num } = node;
  let known: string | undefined;
  const host = createActorHost({
    ics: Object.assign(Object.create(ics) as IcsEndpoint, {
      setView: (...[view, self]: Parameters<IcsEndpoint['setView']>): void => {
        // Services hear of their node's next life up to a second late. What they began until then ends with the last.
        const heard = self?.incarnation.bootId;
        if (known !== undefined && heard !== known) node.hostDisowns(host);
        known = heard;
        ics.setView(view, self);
      },
    }),
    clock: life.clock,
    node: num,
    actors: [tally],
    effects: {
      tally: {
        ran: (params, self) => node.actorRan(self.pid, params as TallyEvent),
      },
    },
    log: world.journal.log(life.name),
    tcp: [{ host: node.address, port: direct.port }],
    setMap: (map) => direct.setMap(map),
  });
  node.hosts(host, life);
}

function startRouter(node: SimNode, life: Life, { ics, direct }: Opened): void {
  const { world } = node;
  const router = createIcsRouter({
    ics,
    clock: life.clock,
    random: world.random(life.name),
    log: world.journal.log(life.name),
    prober: fakeProber(new Map()),
    addresses: [node.address],
    tcpPort: direct.port,
    pid: 0,
    setMap: (map) => direct.setMap(map),
  });
  void router.start();
}

function startDlm(node: SimNode, life: Life, { ics, direct }: Opened): void {
  const tokens = life.mortal(node.lockTokens, 'tokens');
  const service = createDlm({
    // Masterships move all the time.
    ...{ ics, clock: life.clock, tokens, servicePid: 0, moveLead: 1, moveRestMs: 50 },
    sessions: life.mortal(node.lockSessions, 'sessions'),
    log: node.world.journal.log(life.name),
    tcp: [{ host: node.address, port: direct.port }],
    setMap: (map) => direct.setMap(map),
  });
  void service.outlived.then(() => node.killService('dlm', 'its node has another life'));
  void service.start();
}

function startVproc(node: SimNode, life: Life, { ics, direct }: Opened): void {
  const { world, num } = node;
  const ports = node.plant?.ports?.(node.ports, node) ?? node.ports;
  const gated = Object.fromEntries(
    Object.entries(ports).map(([name, port]) => [name, life.mortal(port as object, name)]),
  ) as unknown as typeof ports;
  const service = createVproc({
    ics,
    clock: life.clock,
    random: world.random(life.name),
    log: world.journal.log(life.name),
    tracer: trace.getTracer('sim'),
    ports: gated,
    streams: world.streams.port(num, life),
    failpoint: (name) => node.failpoint(name, life),
    num,
    servicePid: 0,
    tcp: [{ host: node.address, port: direct.port }],
    setMap: (map) => direct.setMap(map as readonly ServiceEndpoint[]),
  });
  void service.start();
}
