// IPC services of some nodes in one process, on the memory bus, with a membership that the test plays: views,
// nodedown steps and who is nameserver are as CLMS has them.
import {
  clms,
  type IpcRequest,
  type IpcResult,
  type IpcType,
  ipc,
  type MemberId,
  ok,
  type Reply,
  type RequestOf,
  type View,
} from '@ssi/contracts';
import { createIcs, type IcsEndpoint, MemoryBus } from '@ssi/ics';
import { type Clock, noLog, seededRandom } from '@ssi/ports';
import {
  createIpc,
  type IdRecord,
  type IpcService,
  type MemoryStore,
  memoryIdRecord,
  memoryNameCache,
  memoryStore,
  type NameCache,
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
  readonly ids: IdRecord;
  service: IpcService;
  ics: IcsEndpoint;
}

export class Cluster {
  readonly bus = new MemoryBus();
  readonly random = seededRandom(1);
  readonly nodes = new Map<number, Node>();
  readonly members = new Map<number, { state: 'UP' | 'KCLEANUP' | 'DOWN'; boots: number }>();
  transid = 10;
  key: { num: number; since: number } | undefined;
  store: MemoryStore = memoryStore();
  cache: () => NameCache = () => memoryNameCache(this.store, 'test');
  /** What left a node for another: `1 lookup 2`. */
  readonly sent: string[] = [];
  readonly #clients: Client[] = [];

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
      ...{ native: false, heartbeatPorts: { udp: 0, tcp: 0 }, versions: {}, keyServices: ['ipc'] },
    };
    const members = [...this.members].map(([num, { state }]) => ({
      ...{ num, name: `n${num}`, state, facts },
      incarnation: this.life(num).incarnation,
    }));
    members.sort((a, b) => a.num - b.num);
    const first = members.find((m) => m.state === 'UP')?.num ?? 1;
    const keyServices = this.key ? { ipc: this.key } : {};
    return { transid: this.transid, term: 1, master: first, members, keyServices, pidBits: 16 };
  }

  async start(...nums: number[]): Promise<void> {
    for (const num of nums) {
      const boots = (this.members.get(num)?.boots ?? 0) + 1;
      this.members.set(num, { state: 'UP', boots });
    }
    this.transid++;
    this.key ??= { num: nums[0] ?? 1, since: this.transid };
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
      confirm: () => ok({ transid: this.transid, leaseMs: 60_000 }),
    });
    const ids = memoryIdRecord();
    this.nodes.set(num, { membership, ids, ...(await this.#startIpc(num, ids)) });
  }

  async #startIpc(num: number, ids: IdRecord) {
    const ics = this.endpoint(num, 'ipc');
    const service = createIpc({
      ...{ ics: this.#counted(ics), clock, log: noLog, cache: this.cache(), ids },
      ...{ servicePid: 0, tcp: [] },
    });
    await service.start();
    return { ics, service };
  }

  #counted(ics: IcsEndpoint): IcsEndpoint {
    return {
      ...ics,
      call: (contract, op, to, request, options) => {
        if (contract.name === 'ipc') this.sent.push(`${ics.self.node} ${op} ${to}`);
        return ics.call(contract, op, to, request, options);
      },
    };
  }

  /** The service alone dies and is started again. */
  async restart(num: number): Promise<void> {
    const node = this.#node(num);
    node.service.stop();
    await node.ics.close();
    Object.assign(node, await this.#startIpc(num, node.ids));
  }

  /** The nameserver is another node's. */
  handOver(to: number): void {
    this.transid++;
    this.key = { num: to, since: this.transid };
    this.tell();
  }

  tell(): void {
    const view = this.view();
    for (const [num, { membership }] of this.nodes)
      membership.send(ipc, 'view', num, { view, self: this.life(num), leased: true });
  }

  /** A node dies; the others go through view and steps, then the key service has a successor. */
  async kill(num: number): Promise<void> {
    const node = this.#node(num);
    this.nodes.delete(num);
    node.service.stop();
    await Promise.all([node.ics.close(), node.membership.close()]);
    const member = this.members.get(num);
    if (!member) throw new Error(`no node ${num}`);
    const dead = [this.life(num)];
    member.state = 'KCLEANUP';
    this.transid++;
    this.tell();
    await Promise.all(
      [...this.nodes].map(async ([n, { membership }]) => {
        const q = { transid: this.transid, dead };
        const reply = await membership.call(ipc, 'nodedown', n, q, { timeoutMs: 10_000 });
        if (!reply.ok) throw new Error(`nodedown at ${n}: ${reply.errno} ${reply.detail}`);
      }),
    );
    member.state = 'DOWN';
    this.transid++;
    if (this.key?.num === num)
      this.key = { num: [...this.nodes.keys()][0] ?? 1, since: this.transid };
    this.tell();
  }

  #node(num: number): Node {
    const node = this.nodes.get(num);
    if (!node) throw new Error(`node ${num} does not run`);
    return node;
  }

  async counters(num: number): Promise<Record<string, number>> {
    const reply = await this.#node(num).membership.call(ipc, 'status', num, {});
    if (!reply.ok) throw new Error(reply.detail);
    return reply.value.counters;
  }
  /** Calls that wait, over all nodes. */
  async waiting(): Promise<number> {
    const all = await Promise.all([...this.nodes.keys()].map((n) => this.counters(n)));
    return all.reduce((sum, c) => sum + (c.waiting ?? 0), 0);
  }
  /** Every object of every node, without what changes as it is used. */
  async objects(): Promise<string[]> {
    const client = this.endpoint(0, `lister_${++clients}`);
    const lists = await Promise.all(
      [...this.nodes.keys()].map((n) => client.call(ipc, 'list', n, {})),
    );
    await client.close();
    return lists
      .flatMap((r) =>
        r.ok ? r.value.objects.map((o) => `${o.type} ${o.name} ${o.id} ${o.node}`) : [],
      )
      .sort();
  }

  async client(node: number): Promise<Client> {
    const client = new Client(this, node);
    this.#clients.push(client);
    await client.open();
    return client;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients.map((c) => c.ics.close()));
    for (const { service, ics, membership } of this.nodes.values()) {
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
  readonly told: number[] = [];
  over: string | undefined;

  constructor(cluster: Cluster, node: number) {
    this.node = node;
    this.session = `${++clients}`.padStart(16, '0');
    this.ics = cluster.endpoint(0, `client_${clients}`);
  }

  async open(): Promise<void> {
    const q = { session: this.session, open: true, after: 0 };
    await until(
      'the session is open',
      async () => (await this.ics.call(ipc, 'session', this.node, q)).ok,
    );
    void this.#follow();
  }
  async #follow(): Promise<void> {
    for (let after = 0; ; ) {
      const reply = await this.ics.call(ipc, 'session', this.node, {
        session: this.session,
        after,
      });
      if (!reply.ok) {
        this.over = reply.errno;
        return;
      }
      for (const { seq, handle } of reply.value.told) {
        after = Math.max(after, seq);
        this.told.push(handle);
      }
    }
  }

  get(type: IpcType, name?: string, q: Partial<RequestOf<typeof ipc.ops.get>> = {}) {
    const request = { mode: 0o666, create: true, ...q, session: this.session, type };
    return this.ics.call(ipc, 'get', this.node, { ...request, ...(name && { name }) });
  }
  /** The id, where that went well. */
  async id(type: IpcType, name?: string, q: Partial<RequestOf<typeof ipc.ops.get>> = {}) {
    const reply = await this.get(type, name, q);
    if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
    return reply.value.id;
  }
  async call(
    id: number,
    request: IpcRequest,
    q: { waitMs?: number; signal?: AbortSignal } = {},
  ): Promise<Reply<IpcResult>> {
    const { signal, waitMs } = q;
    const body = { session: this.session, id, request, ...(waitMs !== undefined && { waitMs }) };
    const reply = await this.ics.call(ipc, 'call', this.node, body, { ...(signal && { signal }) });
    if (!reply.ok || !reply.value.text) return reply;
    // What comes by the wire is a Buffer.
    return ok({ ...reply.value, text: new Uint8Array(reply.value.text) });
  }
  close() {
    return this.ics.call(ipc, 'close', this.node, { session: this.session });
  }
}

/** Until it holds; the time is for a machine that has other things to do. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const end = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within 10 s: ${what}`);
    await new Promise((done) => setTimeout(done, 2));
  }
}
