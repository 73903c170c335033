// The faults of a run as a plain list, drawn from the seed before it begins: what, where, when, how long.
// A run takes the list as it is, so that a failing one can be cut down to what matters.
import { brokerHost, goodLink, type SimRandom } from '@ssi/sim';
import { type FailpointName, failpoints } from '@ssi/vproc';
import type { SimCluster } from './cluster.ts';
import { failingOps } from './failing-ports.ts';
import { type ServiceName, serviceNames } from './services.ts';

type What =
  | { readonly kind: 'killNode' }
  | { readonly kind: 'killService'; readonly service: ServiceName }
  | { readonly kind: 'stopService'; readonly service: ServiceName }
  | { readonly kind: 'haltNode' }
  | { readonly kind: 'slowNode'; readonly ms: number }
  /** Its services are starved: each thing that they do takes so long. */
  | { readonly kind: 'starveNode'; readonly ms: number }
  /** Its wall clock is set so much forward, and back. Not drawn: nothing may go by it at all. */
  | { readonly kind: 'setClock'; readonly ms: number }
  | {
      readonly kind: 'cutNode';
      readonly way: 'both' | 'in' | 'out';
      readonly how: 'cut' | 'hold';
      /** From the other nodes, from the broker: one of the two interconnects, or both. */
      readonly from: 'nodes' | 'broker' | 'all';
    }
  | {
      readonly kind: 'badNet';
      readonly lossPart: number;
      readonly twicePart: number;
      readonly lateMs: number;
    }
  /** `forgets`: of its last acknowledged writes. */
  | { readonly kind: 'stopBroker'; readonly forgets: number | 'all' }
  | {
      readonly kind: 'dieAtCall';
      readonly service: ServiceName;
      readonly calls: number;
      readonly when: 'before' | 'after';
      readonly what: 'service' | 'node';
    }
  | {
      readonly kind: 'dieAtPoint';
      readonly point: FailpointName;
      readonly what: 'service' | 'node';
    }
  | { readonly kind: 'failPort'; readonly op: string; readonly times: number };

export interface Fault {
  readonly atMs: number;
  /** How long it lasts; of a node that is killed: until it is started again. */
  readonly forMs: number;
  /** The node it is about; of faults of the whole net: any. */
  readonly node: number;
  readonly what: What;
}

export interface FaultOptions {
  readonly random: SimRandom;
  readonly nodes: number;
  readonly fromMs: number;
  readonly untilMs: number;
  /** Mean pause between two faults, ms. */
  readonly everyMs: number;
  /** What the run is about: no faults are drawn that do nothing to that. Default: programs. */
  readonly about?: 'programs' | 'locks';
}

const lockServices: readonly ServiceName[] = ['clms', 'ics', 'dlm', 'dlm', 'dlm'];

export function drawFaults({
  random,
  nodes,
  fromMs,
  untilMs,
  everyMs,
  about,
}: FaultOptions): Fault[] {
  const faults: Fault[] = [];
  let atMs = fromMs;
  for (;;) {
    atMs += random.between(0.2, 1.8) * everyMs;
    if (atMs >= untilMs) return faults;
    faults.push({
      atMs: Math.round(atMs),
      forMs: Math.round(
        random.chance(0.3) ? random.between(2_000, 9_000) : random.between(100, 2_000),
      ),
      node: random.integer(1, nodes),
      what: draw(random, about === 'locks'),
    });
  }
}

function draw(r: SimRandom, locks: boolean): What {
  const service = (): ServiceName => r.pick(locks ? lockServices : serviceNames);
  const makers: readonly [number, () => What][] = [
    [3, () => ({ kind: 'killNode' })],
    [3, () => ({ kind: 'killService', service: service() })],
    [2, () => ({ kind: 'stopService', service: service() })],
    [1, () => ({ kind: 'haltNode' })],
    [1, () => ({ kind: 'slowNode', ms: r.integer(5, 120) })],
    [1, () => ({ kind: 'starveNode', ms: r.integer(1, 15) })],
    [
      3,
      () => ({
        kind: 'cutNode',
        way: r.pick(['both', 'both', 'in', 'out'] as const),
        how: r.pick(['cut', 'hold'] as const),
        from: r.pick(['all', 'all', 'nodes', 'broker'] as const),
      }),
    ],
    [
      2,
      () => ({
        kind: 'badNet',
        lossPart: r.between(0, 0.3),
        twicePart: r.between(0, 0.2),
        lateMs: r.between(0, 60),
      }),
    ],
    [2, () => ({ kind: 'stopBroker', forgets: drawForgotten(r) })],
    [
      3,
      () => ({
        kind: 'dieAtCall',
        service: r.chance(0.6) && !locks ? 'vproc' : service(),
        calls: r.integer(0, 60),
        when: r.pick(['before', 'after'] as const),
        what: r.chance(0.75) ? 'service' : 'node',
      }),
    ],
    [
      locks ? 0 : 4,
      () => ({
        kind: 'dieAtPoint',
        point: r.pick(failpoints),
        what: r.chance(0.6) ? 'service' : 'node',
      }),
    ],
    [locks ? 0 : 3, () => ({ kind: 'failPort', op: r.pick(failingOps), times: r.integer(1, 3) })],
  ];
  let at = r.float() * makers.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, make] of makers) {
    at -= weight;
    if (at < 0) return make();
  }
  return { kind: 'killNode' };
}

function drawForgotten(r: SimRandom): number | 'all' {
  if (r.chance(0.6)) return 0;
  return r.chance(0.2) ? 'all' : r.integer(1, 3);
}

/** For people: one fault. */
export const shownFault = ({ atMs, forMs, node, what }: Fault): string =>
  `${atMs} +${forMs} n${node} ${JSON.stringify(what)}`;

/** Has the faults of the list happen when their time comes. */
export function schedule(cluster: SimCluster, faults: readonly Fault[]): void {
  const { clock, journal } = cluster.world;
  for (const fault of faults)
    clock.after(fault.atMs - clock.nowMs(), () => {
      journal.event('fault', shownFault(fault));
      const undo = begin(cluster, fault);
      if (undo) clock.after(fault.forMs, undo);
    });
}

function begin(cluster: SimCluster, { node: num, what }: Fault): (() => void) | undefined {
  const { world } = cluster;
  const node = cluster.node(num);
  switch (what.kind) {
    case 'killNode':
      node.kill('fault');
      return () => node.start();
    case 'killService':
      node.killService(what.service, 'fault');
      return undefined;
    case 'stopService': {
      const life = node.lives.get(what.service);
      life?.pause();
      return () => !node.halted && life?.resume();
    }
    case 'haltNode':
      node.halt(true);
      return () => node.halt(false);
    case 'slowNode':
      world.net.setSlow(num, what.ms);
      return () => world.net.setSlow(num, 0);
    case 'starveNode':
      node.starve(what.ms);
      return () => node.starve(0);
    case 'setClock':
      node.setClock(what.ms);
      return () => node.setClock(-what.ms);
    case 'cutNode':
      return cutNode(cluster, num, what);
    case 'badNet':
      return badNet(cluster, what);
    case 'stopBroker':
      world.bus.stop();
      if (what.forgets === 'all') world.store.forgetAll();
      else world.store.forgetLast(what.forgets);
      return () => world.bus.start();
    case 'dieAtCall':
      node.trap = { service: what.service, left: what.calls, when: what.when, what: what.what };
      return undefined;
    case 'dieAtPoint':
      for (const n of cluster.nodes) n.failpoints.set(what.point, what.what);
      return () => {
        for (const n of cluster.nodes) n.failpoints.delete(what.point);
        // A node that died there is started again.
        for (const n of cluster.nodes) n.start();
      };
    case 'failPort':
      for (const n of cluster.nodes) n.machine.failing.set(what.op, what.times);
      return undefined;
  }
}

function cutNode(
  { world, nodes }: SimCluster,
  num: number,
  q: Extract<What, { kind: 'cutNode' }>,
): () => void {
  const peers = [
    ...(q.from === 'broker' ? [] : nodes.map((n) => n.num).filter((n) => n !== num)),
    ...(q.from === 'nodes' ? [] : [brokerHost]),
  ];
  const set = (state: 'open' | 'cut' | 'hold'): void => {
    for (const peer of peers) {
      if (q.way !== 'in') world.net.setLink(num, peer, state);
      if (q.way !== 'out') world.net.setLink(peer, num, state);
    }
  };
  set(q.how);
  return () => set('open');
}

function badNet({ world, nodes }: SimCluster, q: Extract<What, { kind: 'badNet' }>): () => void {
  const hosts = [...nodes.map((n) => n.num), brokerHost, 0];
  const quality = {
    ...goodLink,
    lossPart: q.lossPart,
    twicePart: q.twicePart,
    delayMs: [0.1, 0.6 + q.lateMs] as const,
  };
  const set = (to: typeof goodLink): void => {
    for (const a of hosts) for (const b of hosts) if (a !== b) world.net.setQuality(a, b, to);
  };
  set(quality);
  return () => set(goodLink);
}

/** Everything works again: links, broker, nodes. */
export function healAll({ world, nodes }: SimCluster): void {
  world.journal.event('fault', 'all healed');
  world.net.heal();
  world.bus.start();
  for (const node of nodes) {
    node.failpoints.clear();
    node.trap = undefined;
    node.machine.failing.clear();
    node.halt(false);
    node.starve(0);
    for (const life of node.lives.values()) life.resume();
    node.start();
  }
}
