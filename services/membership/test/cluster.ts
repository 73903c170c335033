// Several memberships in one process on a virtual clock: a network that can be cut, a KV that can go or
// forget, nodes that can be killed, paused and started again. Checks as it goes: one view per transid,
// no running programs of a life that a view has as gone.
import { type Contract, fail, ok, sameIncarnation, talksIn, type View } from '@ssi/contracts';
import { type CallReply, type Ics, type Log, noLog, seededRandom } from '@ssi/ports';
import { createKvMemory, KvMemoryBucket } from '@ssi/stores';
import { createFakeDisk, type FakeDisk } from '../src/adapters/disk.fake.ts';
import { createFakeGuard, type FakeGuard } from '../src/adapters/guard.fake.ts';
import { createFakeHeartbeats, type FakeHeartbeats } from '../src/adapters/heartbeats.fake.ts';
import type { HeartbeatMessage } from '../src/messages.ts';
import type { Fence } from '../src/ports.ts';
import type { QuorumOptions } from '../src/quorum.ts';
import { createMembership, type Membership } from '../src/service.ts';
import { timing } from '../src/timing.ts';
import { type VirtualClock, virtualClock } from './virtual-clock.ts';

/** Where a second machine with node number `num` is kept. */
export const namesakeOf = (num: number): number => num + 2_000;

type AnyHandler = (request: unknown, call: unknown) => unknown;

export interface TestNode {
  readonly num: number;
  readonly disk: FakeDisk;
  readonly guard: FakeGuard;
  readonly gate: { paused: boolean; dead: boolean };
  readonly membership: Membership;
  readonly heartbeats: FakeHeartbeats;
  /** Handlers by `contract.op`, of membership and of the stand-ins for the other services. */
  readonly handlers: Map<string, AnyHandler>;
  readonly steps: { step: string; dead: number[]; transid: number }[];
  /** Life whose programs the guard holds. */
  life: string;
}

export interface ClusterOptions {
  readonly seed?: number;
  readonly quorum?: QuorumOptions;
  readonly services?: readonly string[];
  readonly keyServices?: readonly string[];
  readonly fence?: Fence;
  readonly log?: Log;
  /** Part of the heartbeats that are lost, 0..1. */
  readonly loss?: number;
  /** Guards freeze so much too late, ms. */
  readonly guardLateMs?: number;
}

const facts = (num: number) => ({
  addresses: [`10.0.0.${num}`],
  cpus: 1,
  memBytes: 0,
  kernel: '6',
  arch: 'x64',
  cpuFlags: [],
  native: true,
  versions: {},
});

/** JSON with sorted keys: the same view, whoever built the object. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) =>
    v && typeof v === 'object' && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );

export class Cluster {
  readonly clock: VirtualClock = virtualClock();
  readonly bucket = new KvMemoryBucket();
  readonly nodes = new Map<number, TestNode>();
  readonly cut = new Set<string>();
  readonly noBroker = new Set<number>();
  readonly views = new Map<string, string>();
  readonly faults: string[] = [];
  readonly events: { event: string; body: unknown }[] = [];
  private readonly disks = new Map<number, FakeDisk>();
  private readonly random;
  private readonly options: ClusterOptions;

  constructor(options: ClusterOptions = {}) {
    this.options = options;
    this.random = seededRandom(options.seed ?? 1);
  }

  private reaches(from: number, to: number): boolean {
    const t = this.nodes.get(to);
    return !this.cut.has(`${from}>${to}`) && t !== undefined && !t.gate.dead;
  }

  /** Starts (again) node `num`; `process` only: the guard and its programs lived on. */
  async start(num: number, q: { process?: boolean; namesake?: boolean } = {}): Promise<TestNode> {
    const key = q.namesake ? namesakeOf(num) : num;
    const old = this.nodes.get(key);
    const disk = this.disks.get(key) ?? createFakeDisk();
    this.disks.set(key, disk);
    if (!q.process) disk.reboot();
    const gate = { paused: false, dead: false };
    const clock = this.clock.forNode(gate);
    const guard =
      q.process && old ? old.guard : createFakeGuard(this.clock, this.options.guardLateMs);
    const handlers: TestNode['handlers'] = new Map();
    const steps: TestNode['steps'] = q.process && old ? old.steps : [];
    const heartbeats = createFakeHeartbeats(num, (from, to, message) => {
      if (gate.dead || this.random.float() < (this.options.loss ?? 0)) return;
      this.clock.after(0.2 + this.random.float(), () => {
        // The bus takes what is for a number to whoever listens by that number, but not back.
        for (const at of [to, namesakeOf(to)]) {
          const target = this.nodes.get(at);
          if (target && at !== key && this.reaches(from, to)) deliverTo(target, message);
        }
      });
    });
    const deliverTo = (target: TestNode, message: HeartbeatMessage): void => {
      if (target.gate.dead) return;
      if (target.gate.paused) this.clock.after(10, () => deliverTo(target, message));
      else target.heartbeats.deliver(message);
    };
    const bucketKv = createKvMemory(this.bucket);
    const away = () => fail('EHOSTUNREACH', 'cut off');
    const membership = await createMembership({
      config: {
        cluster: 'test',
        num,
        name: `n${num}`,
        facts: { ...facts(num), keyServices: [...(this.options.keyServices ?? [])] },
        pidBits: 16,
        services: this.options.services ?? [],
        quorum: this.options.quorum ?? {},
        timing,
      },
      clock,
      random: seededRandom(this.random.float() * 2 ** 32),
      log: (this.options.log ?? noLog).with({ node: num }),
      kv: {
        ...bucketKv,
        get: async (key) => (this.noBroker.has(num) ? away() : bucketKv.get(key)),
        compareAndSet: async (key, value, expected) =>
          this.noBroker.has(num) ? away() : bucketKv.compareAndSet(key, value, expected),
      },
      ics: this.ics(num, gate, handlers),
      heartbeats,
      guard,
      disk,
      ...(this.options.fence ? { fence: this.options.fence } : {}),
      publishEvent: (event, body) => this.events.push({ event, body }),
    });
    const { incarnation } = membership.state.id;
    const node: TestNode = {
      num,
      disk,
      guard,
      gate,
      membership,
      heartbeats,
      handlers,
      steps,
      life: `${incarnation.bootCount}`,
    };
    for (const service of this.options.services ?? []) {
      handlers.set(`${service}.nodedown`, (r) => {
        const q2 = r as { dead: { num: number }[]; transid: number };
        steps.push({ step: service, dead: q2.dead.map((d) => d.num), transid: q2.transid });
        return ok({});
      });
      handlers.set(`${service}.status`, () =>
        ok({ service, state: 'ready', uptimeMs: 0, counters: {} }),
      );
      handlers.set(`${service}.view`, () => ok(undefined));
      handlers.set(`${service}.standDown`, () => ok({}));
      handlers.get('clms.attach')?.({ service, bootId: '00000000000000aa', pid: 1 }, undefined);
    }
    this.nodes.set(key, node);
    return node;
  }

  private ics(num: number, gate: TestNode['gate'], handlers: TestNode['handlers']): Ics {
    const call = async (
      contract: Contract,
      op: string,
      to: number,
      request: unknown,
      options?: { timeoutMs?: number },
    ): Promise<CallReply<never>> => {
      const endMs =
        this.clock.nowMs() + (options?.timeoutMs ?? contract.ops[op]?.timeoutMs ?? 5_000);
      const wait = (ms: number) => new Promise<void>((done) => this.clock.after(ms, done));
      for (;;) {
        await wait(0.5);
        if (gate.dead) return new Promise(() => {});
        const target = to === num ? { gate, handlers } : this.nodes.get(to);
        if (target && (to === num || this.reaches(num, to)) && !target.gate.paused) {
          const handler = target.handlers.get(`${contract.name}.${op}`);
          if (!handler) return fail('ENOSYS', op) as never;
          // A server that dies while it works never answers.
          const reply = await Promise.race([
            handler(structuredClone(request), undefined),
            wait(endMs - this.clock.nowMs()),
          ]);
          if (reply === undefined) return fail('ETIMEDOUT', 'no answer') as never;
          await wait(0.5);
          if (target.gate.dead || (to !== num && !this.reaches(to, num))) {
            await wait(Math.max(0, endMs - this.clock.nowMs()));
            return fail('ETIMEDOUT', 'the answer was lost') as never;
          }
          return structuredClone(reply) as never;
        }
        if (this.clock.nowMs() >= endMs) return fail('ETIMEDOUT', `no answer from ${to}`) as never;
        await wait(20);
      }
    };
    return {
      self: { node: num, service: 'clms', bootId: '0000000000000000' },
      call: call as never,
      versions: () => undefined,
      request: () => {
        throw new Error('not used');
      },
      send: (contract, op, to, request, options) => {
        void call(contract, op as string, to, request, options);
      },
      serve: (contract, given) => {
        for (const [op, handler] of Object.entries(given))
          handlers.set(`${contract.name}.${op}`, handler as AnyHandler);
      },
      setView: (view) => this.check(view),
      close: async () => {},
    };
  }

  /** One view per transid (of one cluster). */
  private check(view: View): void {
    const text = canonical(view);
    const known = this.views.get(`${view.transid}`);
    if (known !== undefined && known !== text)
      this.faults.push(`two views at ${view.transid}:\n${known}\n${text}`);
    this.views.set(`${view.transid}`, text);
    // Whoever is not talked to any more must not run: its guard has frozen it.
    for (const m of view.members) {
      const node = this.nodes.get(m.num);
      if (!node || node.gate.dead || talksIn(m.state)) continue;
      const same = sameIncarnation(node.membership.state.id.incarnation, m.incarnation);
      const left = m.state !== 'KCLEANUP' || node.membership.state.leaving;
      if (same && !left && !node.guard.frozen)
        this.faults.push(
          `node ${m.num} runs at ${this.clock.nowMs()} though view ${view.transid} excludes it`,
        );
    }
  }

  /** SIGKILL of the guard: the whole node. */
  kill(num: number): void {
    const node = this.nodes.get(num);
    if (!node) throw new Error(`no node ${num}`);
    node.gate.dead = true;
    node.membership.stop();
    node.guard.close();
  }

  /** SIGKILL of the membership process alone. */
  killProcess(num: number): void {
    const node = this.nodes.get(num);
    if (!node) throw new Error(`no node ${num}`);
    node.gate.dead = true;
    node.membership.stop();
  }

  partition(left: readonly number[], right: readonly number[]): void {
    for (const a of left)
      for (const b of right) {
        this.cut.add(`${a}>${b}`);
        this.cut.add(`${b}>${a}`);
      }
  }

  heal(): void {
    this.cut.clear();
    this.noBroker.clear();
    this.bucket.reachable = true;
  }

  node(num: number): TestNode {
    const node = this.nodes.get(num);
    if (!node) throw new Error(`no node ${num}`);
    return node;
  }

  view(num: number): View | undefined {
    return this.node(num).membership.state.view;
  }

  /** `1:UP 2:DOWN`, as node `num` has applied it. */
  told(num: number): string {
    return (this.view(num)?.members ?? []).map((m) => `${m.num}:${m.state}`).join(' ');
  }

  /** Moves time until `condition`; fails after `maxMs` with what everyone believes. Returns the ms it took. */
  async until(condition: () => boolean, maxMs: number, what: string): Promise<number> {
    const from = this.clock.nowMs();
    while (!condition()) {
      if (this.clock.nowMs() - from > maxMs) {
        const all = [...this.nodes.values()].map(
          (n) =>
            `${n.num}${n.gate.dead ? ' dead' : ''} ${n.membership.lifeState()} ${n.membership.state.role} transid ${n.membership.state.view?.transid} [${this.told(n.num)}] frozen=${n.guard.frozen}`,
        );
        throw new Error(
          `not within ${maxMs} ms: ${what}\n${all.join('\n')}\n${this.faults.join('\n')}`,
        );
      }
      await this.clock.advance(5);
    }
    return this.clock.nowMs() - from;
  }

  allTold(nums: readonly number[], text: string): boolean {
    return nums.every((n) => this.told(n) === text);
  }
}
