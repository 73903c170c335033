// Directors of some nodes in one process, on the memory bus and a network in memory, with a membership that the test
// plays: views and leases are what a test says.
import {
  clms,
  directorKey,
  type KeyService,
  lvs,
  type MemberId,
  type NodeState,
  ok,
  type TableChange,
  type View,
} from '@ssi/contracts';
import { createIcs, type IcsEndpoint, MemoryBus } from '@ssi/ics';
import { type Clock, noLog, seededRandom } from '@ssi/ports';
import {
  createLvs,
  FakeNetwork,
  FakeProber,
  type LvsService,
  memoryTableStore,
} from '../src/index.ts';
import type { TableStore } from '../src/ports.ts';

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
  readonly store: TableStore;
  ics: IcsEndpoint;
  service: LvsService;
}

export class Cluster {
  readonly bus = new MemoryBus();
  readonly network = new FakeNetwork();
  readonly prober = new FakeProber(clock);
  readonly nodes = new Map<number, Node>();
  readonly states = new Map<number, NodeState>();
  readonly leases = new Map<number, number>();
  transid = 10;
  key: KeyService | undefined;
  readonly #random = seededRandom(3);
  readonly client = this.#endpoint(0, 'test');

  #endpoint(node: number, service: string): IcsEndpoint {
    return createIcs({
      ...{ node, service, clock, random: this.#random },
      transports: [this.bus.transport({ node, service })],
    });
  }

  life = (num: number): MemberId => ({
    ...{ num, incarnation: { bootCount: 1, bootId: `${num}`.repeat(16).slice(0, 16) } },
  });

  view(): View {
    const members = [...this.states].map(([num, state]) => ({
      ...{ num, name: `n${num}`, state, incarnation: this.life(num).incarnation },
      facts: {
        ...{ addresses: [`10.0.0.${num}`], cpus: 1, memBytes: 1, kernel: 'x', arch: 'x64' },
        ...{ cpuFlags: [], native: true, heartbeatPorts: { udp: 0, tcp: 0 }, versions: {} },
        keyServices: [directorKey],
      },
    }));
    members.sort((a, b) => a.num - b.num);
    const keyServices = this.key ? { [directorKey]: this.key } : {};
    return { transid: this.transid, term: 1, master: 1, members, keyServices, pidBits: 16 };
  }

  async start(...nums: number[]): Promise<void> {
    for (const num of nums) this.states.set(num, 'UP');
    for (const num of nums) {
      const membership = this.#endpoint(num, 'clms');
      membership.setView(this.view(), this.life(num));
      membership.serve(clms, {
        attach: () => ok({ view: this.view(), self: this.life(num), leased: true, cluster: 't' }),
        confirm: () => {
          const leaseMs = this.leases.get(num) ?? 60_000;
          return leaseMs > 0
            ? ok({ transid: this.transid, leaseMs })
            : { ok: false, errno: 'ENETDOWN', detail: 'no lease' };
        },
      });
      const store = memoryTableStore();
      this.nodes.set(num, { membership, store, ...(await this.#boot(num, store)) });
    }
  }

  async #boot(num: number, store: TableStore) {
    const ics = this.#endpoint(num, 'lvs');
    const service = createLvs({
      ...{ ics, clock, random: this.#random, log: noLog, store, prober: this.prober },
      plane: this.network.plane(num),
      addresses: this.network.addresses(num),
      sockets: this.network.sockets(num),
      ...{ servicePid: 0, tcp: [] },
    });
    await service.start();
    return { ics, service };
  }

  /** The next view is this, and the nodes that are UP hear of it. */
  tell(active?: number): void {
    this.transid++;
    if (active !== undefined) this.key = { num: active, since: this.transid };
    for (const { membership } of this.nodes.values())
      membership.setView(this.view(), this.life(membership.self.node));
    for (const [num, { membership }] of this.nodes)
      if (this.states.get(num) === 'UP')
        membership.send(lvs, 'view', num, {
          view: this.view(),
          self: this.life(num),
          leased: true,
        });
  }

  /** As a power loss, and what the view makes of it. */
  async die(num: number): Promise<void> {
    const node = this.nodes.get(num);
    this.nodes.delete(num);
    this.states.set(num, 'DOWN');
    this.network.held.delete(num);
    await node?.ics.close();
    await node?.membership.close();
  }

  async reboot(num: number): Promise<void> {
    const node = this.nodes.get(num);
    if (!node) return;
    await node.service.stop();
    await node.ics.close();
    Object.assign(node, await this.#boot(num, node.store));
  }

  change = (to: number, ...changes: TableChange[]) =>
    this.client.call(lvs, 'change', to, { changes });
  table = (to: number) => this.client.call(lvs, 'table', to, {});

  async stop(): Promise<void> {
    for (const { service, ics, membership } of this.nodes.values()) {
      await service.stop();
      await ics.close();
      await membership.close();
    }
    await this.client.close();
  }
}

export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  ms = 5_000,
): Promise<void> {
  const end = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}
