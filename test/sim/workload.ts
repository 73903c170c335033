// What users do to the cluster while it is hurt: start programs, move them, signal them, wait for them,
// call a service; programs fork and exit by themselves. Every draw is from one seeded stream.
import {
  clms,
  findMember,
  type Reply,
  rendezvous,
  upMembers,
  type View,
  vproc,
} from '@ssi/contracts';
import { createIcs, type IcsEndpoint } from '@ssi/ics';
import { sleep } from '@ssi/ports';
import type { Life, SimRandom } from '@ssi/sim';
import type { ActorsChecker } from './checkers/actors.ts';
import type { LossesChecker } from './checkers/losses.ts';
import type { ProbesChecker } from './checkers/probes.ts';
import type { SimCluster } from './cluster.ts';
import type { Plant } from './plants.ts';
import { probe } from './probe.ts';

/** Pause between two things that one client does, ms. */
const pauseMs = [100, 600] as const;
const livingMax = 8;

export interface WorkloadOptions {
  readonly cluster: SimCluster;
  readonly losses: LossesChecker;
  readonly probes: ProbesChecker;
  readonly mailbox: ActorsChecker;
  readonly clients: number;
  readonly plant?: Plant | undefined;
}

/** What came of it: by action and outcome. */
export type Tally = Map<string, number>;

export class Workload {
  readonly tally: Tally = new Map();
  readonly #o: WorkloadOptions;
  readonly #random: SimRandom;
  readonly #clients: { ics: IcsEndpoint; life: Life }[] = [];
  #view: View | undefined;
  #tokens = 0;
  #on = true;

  constructor(options: WorkloadOptions) {
    this.#o = options;
    const { world } = options.cluster;
    this.#random = world.random('workload');
    for (let i = 1; i <= options.clients; i++) {
      const life = options.cluster.clientLife(`c${i}`);
      const self = { node: 0, service: `c${i}` };
      const ics = createIcs({
        ...self,
        clock: life.clock,
        random: world.random(`c${i}.ics`),
        transports: [world.bus.transport(self, 0, life)],
        checkReplies: true,
      });
      const watched = options.cluster.calls.watch(ics, life);
      this.#clients.push({ ics: options.plant?.client?.(watched, world) ?? watched, life });
    }
  }

  start(): void {
    for (const client of this.#clients) void this.#act(client);
    const first = this.#clients[0];
    if (first) void this.#followView(first);
    void this.#programs();
  }

  /** No more of it; what is under way ends by itself. */
  stop(): void {
    this.#on = false;
  }

  async #followView({ ics, life }: { ics: IcsEndpoint; life: Life }): Promise<void> {
    for (;;) {
      const to = this.#random.pick(this.#o.cluster.nodes).num;
      const reply = await ics.call(clms, 'members', to, {}, { timeoutMs: 500 });
      if (reply.ok && reply.value.view.transid > (this.#view?.transid ?? 0)) {
        this.#view = reply.value.view;
        for (const c of this.#clients) c.ics.setView(reply.value.view);
      }
      await sleep(life.clock, 300);
    }
  }

  async #act({ ics, life }: { ics: IcsEndpoint; life: Life }): Promise<void> {
    const r = this.#random;
    while (this.#on) {
      await sleep(life.clock, r.between(pauseMs[0], pauseMs[1]));
      const up = this.#view ? upMembers(this.#view).map((m) => m.num) : [];
      if (up.length === 0) continue;
      const living = this.#o.losses.living();
      const draw = r.float();
      if (living.length === 0 || (draw < 0.2 && living.length < livingMax))
        await this.#run(ics, up);
      else if (draw < 0.25) await this.#rexec(ics, r.pick(living), r.pick(up));
      else if (draw < 0.65) await this.#migrate(ics, r.pick(living), up);
      else if (draw < 0.75) await this.#signal(ics, r.pick(living));
      else if (draw < 0.82) await this.#wait(ics, r.pick(living));
      else if (draw < 0.85) await this.#handOver(ics);
      else await this.#probe(ics, r.pick(up));
    }
  }

  async #run(ics: IcsEndpoint, up: number[]): Promise<void> {
    const to = this.#random.pick(up);
    const token = `t${++this.#tokens}`;
    const reply = await ics.call(vproc, 'run', to, {
      argv: ['count', token],
      env: {},
      cwd: '/',
      uid: 0,
      gid: 0,
    });
    this.#note(ics, `run ${token} on ${to}`, reply, reply.ok ? { pid: reply.value.pid } : {});
  }

  async #migrate(ics: IcsEndpoint, pid: number, up: number[]): Promise<void> {
    let at = await this.#where(ics, pid);
    const others = up.filter((n) => n !== at);
    // Now and then to where it is already: refused, and nothing happens.
    const to = this.#random.pick(this.#random.chance(0.05) || others.length === 0 ? up : others);
    for (let tries = 0; at !== undefined && tries < 3; tries++) {
      const request = { pid, to, uid: 0 };
      const reply = await ics.call(vproc, 'migrate', at, request, { timeoutMs: 20_000 });
      this.#note(ics, `migrate ${pid} ${at}>${to}`, reply);
      if (reply.ok || reply.errno !== 'EREMCHG' || reply.node === undefined) return;
      at = reply.node;
    }
  }

  async #handOver(ics: IcsEndpoint): Promise<void> {
    if (!this.#view) return;
    const reply = await ics.call(clms, 'handover', this.#view.master, { service: probe.name });
    this.#note(ics, 'hand over', reply);
  }

  /** The same program from its start, elsewhere, under its number. */
  async #rexec(ics: IcsEndpoint, pid: number, to: number): Promise<void> {
    const at = await this.#where(ics, pid);
    const token = this.#o.losses.tokenOf(pid);
    if (at === undefined || token === undefined) return;
    this.#o.losses.mayBeginAgain(pid);
    const request = { pid, to, argv: ['count', 'again', token], env: {}, uid: 0 };
    const reply = await ics.call(vproc, 'rexec', at, request, { timeoutMs: 20_000 });
    this.#note(ics, `rexec ${pid} ${at}>${to}`, reply);
  }

  async #signal(ics: IcsEndpoint, pid: number): Promise<void> {
    const origin = this.origin(pid);
    if (origin === undefined) return;
    const signal = this.#random.chance(0.5) ? 15 : 0;
    if (signal !== 0) {
      this.#o.losses.mayEnd(pid, `signal ${signal}`);
      // The number may be an actor's by now: the program's node is out, and nobody has killed it there yet.
      this.#o.mailbox.mayEnd(pid);
    }
    const reply = await ics.call(vproc, 'signal', origin, { pid, signal, uid: 0 });
    this.#note(ics, `signal ${pid} ${signal}`, reply);
  }

  async #wait(ics: IcsEndpoint, pid: number): Promise<void> {
    const origin = this.origin(pid);
    if (origin === undefined) return;
    const request = { pid, reap: true };
    const reply = await ics.call(vproc, 'wait', origin, request, { timeoutMs: 1_000 });
    this.#note(ics, `wait ${pid}`, reply);
  }

  async #probe(ics: IcsEndpoint, to: number): Promise<void> {
    const token = `p${++this.#tokens}`;
    const workMs = this.#random.chance(0.3) ? this.#random.between(0, 500) : 0;
    const reply = await ics.call(probe, 'run', to, { token, workMs });
    this.#o.probes.answered(token, reply.ok ? 'ok' : reply.errno);
    this.#note(ics, `probe ${token} on ${to}`, reply);
  }

  /** Where the origin says that a process is. */
  async #where(ics: IcsEndpoint, pid: number): Promise<number | undefined> {
    let origin = this.origin(pid);
    for (let tries = 0; origin !== undefined && tries < 3; tries++) {
      const reply = await ics.call(vproc, 'where', origin, { pid });
      if (reply.ok) return reply.value.entry.node;
      this.#count(`where ${reply.errno}`);
      if (reply.errno !== 'EREMCHG' || reply.node === undefined) return undefined;
      origin = reply.node;
    }
    return undefined;
  }

  /** As every client finds it: the range's node if UP, else its surrogate. */
  origin(pid: number): number | undefined {
    const view = this.#view;
    if (!view) return undefined;
    const range = Math.floor(pid / 2 ** view.pidBits);
    if (findMember(view, range)?.state === 'UP') return range;
    const up = upMembers(view).map((m) => m.num);
    return rendezvous(`origin:${range}`, up);
  }

  /** Where its origin says that a process is, as a client asks; why not, if it does not. */
  async ask(pid: number): Promise<number | string> {
    const client = this.#clients[0];
    const origin = this.origin(pid);
    if (!client || origin === undefined) return 'no origin';
    const reply = await client.ics.call(vproc, 'where', origin, { pid });
    return reply.ok ? reply.value.entry.node : `${reply.errno} from node ${origin}`;
  }

  /** Programs fork and end by themselves, on whatever machine they are. */
  async #programs(): Promise<void> {
    const { cluster, losses } = this.#o;
    const r = this.#random;
    while (this.#on) {
      await sleep(cluster.world.clock, r.between(500, 3_000));
      const node = r.pick(cluster.nodes);
      const running = [...node.machine.processes.values()].filter((p) => p.state === 'running');
      if (!node.up || node.halted || node.machine.frozen || running.length === 0) continue;
      const p = r.pick(running);
      if (r.chance(0.7) && losses.living().length < livingMax) {
        const child = node.machine.fork(p.pid);
        cluster.world.journal.event(node.boot, `${p.pid} forks`, { child: child?.pid });
      } else {
        losses.mayEnd(p.pid, 'exit');
        cluster.world.journal.event(node.boot, `${p.pid} exits`);
        node.machine.exit(p.pid, 0);
      }
    }
  }

  #note(ics: IcsEndpoint, what: string, reply: Reply<unknown>, more: object = {}): void {
    const outcome = reply.ok ? 'ok' : reply.errno;
    this.#count(`${what.split(' ')[0]} ${outcome}`);
    const detail = reply.ok ? {} : { detail: reply.detail };
    this.#o.cluster.world.journal.event(ics.self.service, `${what}: ${outcome}`, {
      ...more,
      ...detail,
    });
  }

  #count(key: string): void {
    this.tally.set(key, (this.tally.get(key) ?? 0) + 1);
  }
}
