// Lock managers of some nodes in one process, on the memory bus, with a membership that the test plays:
// views are told in whatever order and delay a test wants, and nodedown steps are called as CLMS does.
import {
  clms,
  dlm,
  fail,
  keyOf,
  type MemberId,
  ok,
  type RequestOf,
  type ResourceInfo,
  type View,
  vproc,
} from '@ssi/contracts';
import { createIcs, type IcsEndpoint, MemoryBus } from '@ssi/ics';
import { type Clock, noLog, seededRandom } from '@ssi/ports';
import {
  createDlm,
  type Dlm,
  memorySessionRecord,
  memoryTokenRecord,
  type SessionRecord,
  type TokenRecord,
} from '../src/index.ts';

const clock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (delayMs, fn) => {
    const timer = setTimeout(fn, Math.min(delayMs, 2 ** 31 - 1));
    return { cancel: () => clearTimeout(timer) };
  },
};

interface Node {
  readonly membership: IcsEndpoint;
  readonly tokens: TokenRecord;
  readonly sessions: SessionRecord;
  dlm: Dlm;
  ics: IcsEndpoint;
}

type LockQuery = Partial<RequestOf<typeof dlm.ops.lock>> & { resource: string };

export class Cluster {
  readonly bus = new MemoryBus();
  readonly random = seededRandom(1);
  readonly nodes = new Map<number, Node>();
  readonly members = new Map<number, { state: 'UP' | 'KCLEANUP' | 'DOWN'; boots: number }>();
  transid = 10;
  /** Operations that left each node, from its lock manager to others. */
  readonly sent: string[] = [];
  leaseMs = 60_000;
  /** Programs of the cluster, by pid: what wakes who waits for their end. */
  readonly programs = new Map<number, PromiseWithResolvers<void>>();
  /** Whether lock managers wait for the clients of their former life. */
  keepsSessions = false;
  /** See `moveLead` of the lock manager; 0: masterships stay. */
  moveLead = 0;
  #held:
    | { readonly op: string; readonly reached: () => void; readonly go: Promise<void> }
    | undefined;
  letGo: () => void = () => {};

  endpoint(node: number, service: string): IcsEndpoint {
    return createIcs({
      ...{ node, service, clock, random: this.random, checkReplies: true },
      transports: [this.bus.transport({ node, service })],
    });
  }

  life(num: number): MemberId {
    const bootCount = this.members.get(num)?.boots ?? 1;
    const bootId = `${num}`.repeat(8).slice(0, 8) + `${bootCount}`.padStart(8, '0');
    return { num, incarnation: { bootCount, bootId } };
  }

  view(): View {
    const facts = {
      ...{ addresses: [], cpus: 1, memBytes: 1, kernel: 'x', arch: 'x64', cpuFlags: [] },
      ...{ native: false, heartbeatPorts: { udp: 0, tcp: 0 }, versions: {} },
    };
    const members = [...this.members].map(([num, { state }]) => ({
      ...{ num, name: `n${num}`, state, facts },
      incarnation: this.life(num).incarnation,
    }));
    members.sort((a, b) => a.num - b.num);
    const first = members.find((m) => m.state === 'UP')?.num ?? 1;
    return { transid: this.transid, term: 1, master: first, members, keyServices: {}, pidBits: 16 };
  }

  /** Nodes come UP in one transition. */
  async start(...nums: number[]): Promise<void> {
    for (const num of nums) {
      const boots = (this.members.get(num)?.boots ?? 0) + 1;
      this.members.set(num, { state: 'UP', boots });
    }
    this.transid++;
    await Promise.all(nums.map((num) => this.#boot(num)));
    this.tell();
  }

  async #boot(num: number): Promise<void> {
    const membership = this.endpoint(num, 'clms');
    membership.serve(clms, {
      attach: () => {
        const view = this.view();
        membership.setView(view, this.life(num));
        return ok({ view, self: this.life(num), leased: true, cluster: 'test' });
      },
      confirm: () => ok({ transid: this.transid, leaseMs: this.leaseMs }),
    });
    this.#serveVproc(num);
    const records = { tokens: memoryTokenRecord(), sessions: memorySessionRecord() };
    this.nodes.set(num, { membership, ...records, ...(await this.#startDlm(num, records)) });
  }

  /** What a lock manager asks of vproc. */
  #serveVproc(num: number): void {
    this.endpoint(num, 'vproc').serve(vproc, {
      where: ({ pid }) => {
        const ids = { ppid: 0, pgid: pid, sid: pid, tids: [], kind: 'native' as const };
        const entry = { pid, ...ids, node: num, hop: 0, phase: 'live' as const };
        return this.programs.has(pid) ? ok({ entry }) : fail('ESRCH', `no process ${pid}`);
      },
      wait: async ({ pid }) => {
        await this.programs.get(pid)?.promise;
        return ok({ pid, code: 0, signal: null });
      },
    });
  }

  async #startDlm(num: number, { tokens, sessions }: Pick<Node, 'tokens' | 'sessions'>) {
    const ics = this.endpoint(num, 'dlm');
    const service = createDlm({
      ics: this.#counted(ics),
      clock,
      log: noLog,
      tokens,
      ...(this.keepsSessions && { sessions }),
      servicePid: 0,
      moveLead: this.moveLead,
      tcp: [],
    });
    await service.start();
    return { ics, dlm: service };
  }

  /** From now on these calls wait for `letGo`; resolves when there is one. */
  hold(op: string): Promise<void> {
    return new Promise((reached) => {
      const go = new Promise<void>((letGo) => {
        this.letGo = letGo;
      });
      this.#held = { op, reached, go };
    });
  }

  #counted(ics: IcsEndpoint): IcsEndpoint {
    const count = (op: string, to: number): void => {
      if (to !== ics.self.node) this.sent.push(`${ics.self.node} ${op} ${to}`);
    };
    return {
      ...ics,
      call: async (contract, op, to, request, options) => {
        count(op, to);
        if (this.#held?.op === op) {
          this.#held.reached();
          await this.#held.go;
          if (!this.nodes.has(ics.self.node)) return fail('EHOSTUNREACH', 'its node is dead');
        }
        return ics.call(contract, op, to, request, options);
      },
      send: (contract, op, to, request, options) => {
        count(op, to);
        ics.send(contract, op, to, request, options);
      },
    };
  }

  /** The service alone dies and is started again. */
  async restart(num: number): Promise<void> {
    const node = this.#node(num);
    node.dlm.stop();
    await node.ics.close();
    Object.assign(node, await this.#startDlm(num, node));
  }

  tell(...nums: number[]): void {
    const view = this.view();
    for (const num of nums.length > 0 ? nums : this.nodes.keys())
      this.#node(num).membership.send(dlm, 'view', num, {
        view,
        self: this.life(num),
        leased: true,
      });
  }

  /** A node dies; the others go through view and steps. */
  async kill(num: number): Promise<void> {
    const node = this.#node(num);
    this.nodes.delete(num);
    node.dlm.stop();
    await Promise.all([node.ics.close(), node.membership.close()]);
    await this.exclude(num);
  }

  async exclude(num: number): Promise<void> {
    const member = this.members.get(num);
    if (!member) throw new Error(`no node ${num}`);
    const dead = [this.life(num)];
    member.state = 'KCLEANUP';
    this.transid++;
    this.tell();
    await Promise.all(
      [...this.nodes].map(async ([n, { membership }]) => {
        const q = { transid: this.transid, dead };
        const reply = await membership.call(dlm, 'nodedown', n, q, { timeoutMs: 10_000 });
        if (!reply.ok) throw new Error(`nodedown at ${n}: ${reply.errno} ${reply.detail}`);
      }),
    );
    member.state = 'DOWN';
    this.transid++;
    this.tell();
  }

  /** A node that was excluded and did not die: it comes back in another life, its lock manager too. */
  async comeBack(num: number): Promise<void> {
    const boots = (this.members.get(num)?.boots ?? 0) + 1;
    this.members.set(num, { state: 'UP', boots });
    this.transid++;
    this.tell();
    await this.#node(num).dlm.outlived;
    await this.restart(num);
  }

  #node(num: number): Node {
    const node = this.nodes.get(num);
    if (!node) throw new Error(`node ${num} does not run`);
    return node;
  }

  async counters(num: number): Promise<Record<string, number>> {
    const reply = await this.#node(num).membership.call(dlm, 'status', num, {});
    if (!reply.ok) throw new Error(reply.detail);
    return reply.value.counters;
  }

  async list(num: number) {
    const client = this.endpoint(0, 'lister');
    const resources: ResourceInfo[] = [];
    for (let after: string | undefined; ; ) {
      const reply = await client.call(dlm, 'list', num, after === undefined ? {} : { after });
      if (!reply.ok) throw new Error(reply.detail);
      resources.push(...reply.value.resources);
      const last = reply.value.truncated ? reply.value.resources.at(-1) : undefined;
      if (!last) break;
      after = keyOf(last.lockspace, last.resource, last.parents);
    }
    await client.close();
    return resources;
  }

  async client(node: number, pid?: number): Promise<Client> {
    const client = new Client(this, node, pid);
    await client.open();
    return client;
  }

  async stop(): Promise<void> {
    for (const { dlm: service, ics, membership } of this.nodes.values()) {
      service.stop();
      await Promise.all([ics.close(), membership.close()]);
    }
  }
}

let clients = 0;

/** A session, by the bare operations. */
export class Client {
  readonly ics: IcsEndpoint;
  readonly node: number;
  readonly session: string;
  readonly blocking: string[] = [];
  readonly #pid: number | undefined;
  readonly #ops = new Map<number, number>();
  #after = 0;
  over: string | undefined;
  /** How long it may be silent, as it was told last. */
  sessionMs = 0;

  constructor(cluster: Cluster, node: number, pid?: number) {
    this.node = node;
    this.#pid = pid;
    this.session = `${++clients}`.padStart(16, '0');
    this.ics = cluster.endpoint(0, `client_${clients}`);
  }

  async open(): Promise<void> {
    for (;;) {
      const pid = this.#pid !== undefined && { pid: this.#pid };
      const q = { session: this.session, open: true, after: 0, ...pid };
      const reply = await this.ics.call(dlm, 'asts', this.node, q);
      if (reply.ok) break;
      if (reply.errno !== 'EAGAIN') throw new Error(`${reply.errno} ${reply.detail}`);
    }
    void this.#follow();
  }
  async #follow(): Promise<void> {
    for (;;) {
      const q = { session: this.session, after: this.#after };
      const reply = await this.ics.call(dlm, 'asts', this.node, q);
      if (!reply.ok) {
        this.over = reply.errno;
        return;
      }
      this.sessionMs = reply.value.sessionMs;
      for (const { seq, ref, mode } of reply.value.blocking) {
        this.#after = Math.max(this.#after, seq);
        this.blocking.push(`${ref} ${mode}`);
      }
    }
  }

  /** `op` counts by itself. */
  lock(ref: number, q: LockQuery, timeoutMs = 20_000) {
    const op = q.op ?? (this.#ops.get(ref) ?? 0) + 1;
    this.#ops.set(ref, op);
    const request = { lockspace: 'ls', mode: 'EX' as const, ...q, session: this.session, ref, op };
    return this.ics.call(dlm, 'lock', this.node, request, { timeoutMs });
  }
  unlock(ref: number, q: Partial<RequestOf<typeof dlm.ops.unlock>> = {}) {
    return this.ics.call(dlm, 'unlock', this.node, { ...q, session: this.session, ref });
  }
  /** As the library of clients does where the lock manager says EREMCHG. */
  async resume(locks: RequestOf<typeof dlm.ops.resume>['locks']) {
    const q = { session: this.session, locks, more: false };
    const reply = await this.ics.call(dlm, 'resume', this.node, q);
    if (!reply.ok) return reply;
    this.over = undefined;
    void this.#follow();
    return reply;
  }
  cancel(ref: number) {
    return this.ics.call(dlm, 'cancel', this.node, { session: this.session, ref });
  }
  purge(q: RequestOf<typeof dlm.ops.purge>) {
    return this.ics.call(dlm, 'purge', this.node, q);
  }
  /** Ends the session; what it asked for is still answered. */
  end() {
    return this.ics.call(dlm, 'close', this.node, { session: this.session });
  }
  async close(): Promise<void> {
    await this.end();
    await this.ics.close();
  }
}

/** Until it holds; the time is for a machine that has other things to do. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  longestMs = 10_000,
): Promise<void> {
  const end = performance.now() + longestMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${longestMs} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}
