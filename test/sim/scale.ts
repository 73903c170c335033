// npm run sim -- --nodes N: how membership grows with the nodes. N of them, unchanged, with nothing else on
// them, start from the view that their disks remember; then one is switched off. Counted is what nodes
// send: a heartbeat on each of its two ways is a message of its own, as JSON; calls are the frames of ICS.
import type { View } from '@ssi/contracts';
import { createIcs } from '@ssi/ics';
import {
  createFakeDisk,
  createFakeGuard,
  createMembership,
  type HeartbeatMessage,
  type Membership,
  timing,
} from '@ssi/membership';
import { brokerHost, Life } from '@ssi/sim';
import { World } from './world.ts';

export interface Traffic {
  readonly messages: number;
  readonly bytes: number;
}
export interface ScaleResult {
  readonly nodes: number;
  /** Of a second at rest: the mean node, and the master. */
  readonly rest: Traffic;
  readonly master: Traffic;
  /** Of a node's death, from its last word until all others have the view with it DOWN, beyond the rest: per node and view. */
  readonly change: Traffic;
  readonly views: number;
  /** From the death to the view without it on every node, ms. */
  readonly downMs: number;
}

const facts = (num: number): View['members'][number]['facts'] => ({
  addresses: [`10.77.${num >> 8}.${num & 255}`],
  cpus: 1,
  memBytes: 2 ** 30,
  kernel: 'fake',
  arch: 'x64',
  cpuFlags: ['sse2'],
  native: false,
  heartbeatPorts: { udp: 1, tcp: 1 },
  versions: {},
});
const incarnation = (num: number) => ({ bootCount: 1, bootId: `${num}`.padStart(16, '0') });

const remembered = (nodes: number): View => ({
  transid: 1,
  term: 1,
  master: 1,
  members: Array.from({ length: nodes }, (_, i) => ({
    num: i + 1,
    name: `n${i + 1}`,
    incarnation: incarnation(i + 1),
    state: 'UP' as const,
    facts: facts(i + 1),
  })),
  keyServices: {},
  pidBits: 14,
});

export async function scale(nodes: number): Promise<ScaleResult> {
  const world = new World(nodes);
  const { clock } = world;
  const view = remembered(nodes);
  const sent = Array.from({ length: nodes + 1 }, () => ({ messages: 0, bytes: 0 }));
  const count = (from: number, bytes: number): void => {
    const of = sent[from];
    if (!of) return;
    of.messages++;
    of.bytes += bytes;
  };
  world.net.onPacket = (from, to, load) => {
    // What the broker passes on was counted where it came from.
    if (from === brokerHost || from === to) return;
    count(from, load instanceof Uint8Array ? load.length : JSON.stringify(load ?? '').length);
  };
  const memberships: Membership[] = [];
  const lives: Life[] = [];
  for (let num = 1; num <= nodes; num++) {
    const life = new Life({ name: `n${num}`, world: clock });
    lives.push(life);
    const disk = createFakeDisk();
    await disk.saveBootCount(1);
    await disk.saveLife({ incarnation: incarnation(num) });
    await disk.saveView({ clusterId: 'scale', view });
    const self = { node: num, service: 'clms' };
    const { heartbeatPorts, ...plain } = facts(num);
    memberships.push(
      await createMembership({
        config: {
          ...{ cluster: 'sim', num, name: `n${num}`, facts: plain, pidBits: 14 },
          ...{ services: [], quorum: {}, timing },
        },
        clock: life.clock,
        random: world.random(life.name),
        log: world.journal.log(life.name),
        kv: world.store.client(num, life),
        ics: createIcs({
          ...self,
          clock: life.clock,
          random: world.random(`${life.name}.ics`),
          transports: [world.bus.transport(self, num, life)],
        }),
        heartbeats: {
          ...world.datagrams<HeartbeatMessage>().port(num, life),
          setPeers: () => {},
          ports: heartbeatPorts,
        },
        guard: createFakeGuard(life.clock),
        disk,
        publishEvent: () => {},
      }),
    );
  }
  const newest = (): number => Math.max(...memberships.map((m) => m.state.view?.transid ?? 0));
  const agreed = (on: readonly Membership[]): boolean => {
    const transid = newest();
    return transid > 1 && on.every((m) => m.state.view?.transid === transid);
  };
  const until = async (what: string, there: () => boolean): Promise<void> => {
    for (const endMs = clock.nowMs() + 60_000; !there(); await clock.run(clock.nowMs() + 10))
      if (clock.nowMs() > endMs) throw new Error(`${nodes} nodes: ${what}: not in 60 s`);
  };
  const totals = (): Traffic => ({
    messages: sent.reduce((sum, s) => sum + s.messages, 0),
    bytes: sent.reduce((sum, s) => sum + s.bytes, 0),
  });

  await until('a master', () => agreed(memberships));
  await clock.run(clock.nowMs() + 2_000);
  const masterNum = memberships[0]?.state.view?.master ?? 1;
  const restS = 2;
  const [before, masterBefore] = [totals(), { ...sent[masterNum] } as Traffic];
  await clock.run(clock.nowMs() + restS * 1_000);
  const [after, masterAfter] = [totals(), { ...sent[masterNum] } as Traffic];
  const rest = {
    messages: (after.messages - before.messages) / restS,
    bytes: (after.bytes - before.bytes) / restS,
  };

  const deadNum = masterNum === nodes ? nodes - 1 : nodes;
  const survivors = memberships.filter((_, i) => i + 1 !== deadNum);
  const stateOn = (m: Membership) =>
    m.state.view?.members.find((x) => x.num === deadNum)?.state ?? 'UP';
  const [diedMs, from] = [clock.nowMs(), newest()];
  lives[deadNum - 1]?.end();
  await until('the view without it', () => survivors.every((m) => stateOn(m) !== 'UP'));
  const downMs = clock.nowMs() - diedMs;
  await until('its steps', () => survivors.every((m) => stateOn(m) === 'DOWN'));
  const views = newest() - from;
  const tookS = (clock.nowMs() - diedMs) / 1_000;
  const all = totals();
  for (const life of lives) life.end();
  return {
    nodes,
    rest: { messages: rest.messages / nodes, bytes: rest.bytes / nodes },
    master: {
      messages: (masterAfter.messages - masterBefore.messages) / restS,
      bytes: (masterAfter.bytes - masterBefore.bytes) / restS,
    },
    change: {
      messages: (all.messages - after.messages - rest.messages * tookS) / nodes / views,
      bytes: (all.bytes - after.bytes - rest.bytes * tookS) / nodes / views,
    },
    views,
    downMs,
  };
}
