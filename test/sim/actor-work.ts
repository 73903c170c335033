// What users of actors do, through the whole client library: they start some, ask them, send to them in
// bursts, and move them. Every draw is from one seeded stream.
import { trace } from '@opentelemetry/api';
import { createSsi, type Ssi } from '@ssi/client';
import { ok } from '@ssi/contracts';
import { createIcs } from '@ssi/ics';
import { sleep } from '@ssi/ports';
import type { Life, SimRandom } from '@ssi/sim';
import type { ActorsChecker } from './checkers/actors.ts';
import type { SimCluster } from './cluster.ts';
import { type TallyEvent, tally } from './tally-actor.ts';
import type { Tally } from './workload.ts';

const pauseMs = [60, 500] as const;
const livingMax = 4;
const burstMax = 6;
/** So many events come while an actor moves, one every so many ms. */
const moveBurst = 6;
const moveBurstMs = 4;
const answerMs = 6_000;

export class ActorWork {
  readonly #cluster: SimCluster;
  readonly #checker: ActorsChecker;
  readonly #random: SimRandom;
  readonly #tally: Tally;
  readonly #life: Life;
  readonly #ssi: Ssi;
  readonly #sent = new Map<number, number>();
  readonly #moving = new Set<number>();
  #on = true;

  constructor(cluster: SimCluster, checker: ActorsChecker, tallied: Tally) {
    this.#cluster = cluster;
    this.#checker = checker;
    this.#tally = tallied;
    const { world } = cluster;
    this.#random = world.random('actor work');
    this.#life = cluster.clientLife('a1');
    const { clock } = this.#life;
    const self = { node: 0, service: 'a1' };
    const ics = createIcs({
      ...self,
      clock,
      random: world.random('a1.ics'),
      transports: [world.bus.transport(self, 0, this.#life)],
      checkReplies: true,
    });
    this.#ssi = createSsi({
      cluster: 'sim',
      ics: cluster.calls.watch(ics, this.#life),
      streams: world.streams.port(0, this.#life),
      clock,
      tracer: trace.getTracer('sim'),
      spans: {
        publish: async () => {},
        readTrace: async () => ok([]),
        recentTraces: async () => ok([]),
        close: async () => {},
      },
      seeds: cluster.nodes.map((n) => n.num),
      uid: 0,
      onEvent: () => ({ stop: () => {} }),
      close: async () => {},
    });
  }

  start(): void {
    void this.#act();
  }
  stop(): void {
    this.#on = false;
  }

  /** Each actor that is there answers; undefined, or which does not. */
  async asked(): Promise<string | undefined> {
    for (const pid of this.#checker.living()) {
      const answer = await this.#tell(pid, 'ask');
      if (answer !== 'ok' && this.#checker.living().includes(pid)) return `actor ${pid}: ${answer}`;
    }
    return undefined;
  }

  async #act(): Promise<void> {
    const r = this.#random;
    const { nodes } = this.#cluster;
    while (this.#on) {
      await sleep(this.#life.clock, r.between(pauseMs[0], pauseMs[1]));
      const living = this.#checker.living();
      const to = r.pick(nodes).num;
      const draw = r.float();
      if (living.length === 0 || (draw < 0.1 && living.length < livingMax)) await this.#spawn(to);
      else if (draw < 0.35) void this.#migrate(r.pick(living), to);
      else {
        const pid = r.pick(living);
        for (let left = r.integer(1, burstMax); left > 0; left--)
          void this.#tell(pid, r.chance(0.5) ? 'ask' : 'send');
      }
    }
  }

  async #spawn(node: number): Promise<void> {
    const reply = await this.#ssi.spawn(tally, { node });
    if (reply.ok) this.#checker.started(reply.value.pid);
    this.#note(`spawn on ${node}`, reply.ok ? `ok ${reply.value.pid}` : reply.errno);
  }

  async #migrate(pid: number, to: number): Promise<void> {
    if (this.#moving.has(pid)) return;
    this.#moving.add(pid);
    for (let i = 1; i <= moveBurst; i++)
      this.#life.clock.after(moveBurstMs * i, () => void this.#tell(pid, 'send'));
    const reply = await this.#ssi.migrate(pid, to);
    this.#moving.delete(pid);
    this.#note(`amigrate ${pid} ${to}`, reply.ok ? 'ok' : reply.errno);
  }

  async #tell(pid: number, kind: 'ask' | 'send'): Promise<string> {
    const n = this.#sent.get(pid) ?? 0;
    this.#sent.set(pid, n + 1);
    const event: TallyEvent = { type: 'count', name: 'a', n };
    const reply = await this.#ssi[kind]({ pid, type: tally.type }, event, { timeoutMs: answerMs });
    if (reply.ok) this.#checker.acknowledged(pid, event, reply.value, kind);
    const outcome = reply.ok ? 'ok' : reply.errno;
    this.#note(`${kind} ${pid} ${n}`, outcome);
    return outcome;
  }

  #note(what: string, outcome: string): void {
    const key = `${what.split(' ')[0]} ${outcome.split(' ')[0]}`;
    this.#tally.set(key, (this.#tally.get(key) ?? 0) + 1);
    this.#cluster.world.journal.event('a1', `${what}: ${outcome}`);
  }
}
