// Three nodes in one process: machines, vprocs, and just enough of membership and router to serve them.
import { trace } from '@opentelemetry/api';
import { clms, fail, ics, type MemberId, ok, type View, vproc } from '@ssi/contracts';
import { type Ics, noLog, seededRandom } from '@ssi/ports';
import { FakeMachine, runningCopies } from '../src/adapters/machine.fake.ts';
import { type FakePorts, fakePorts, Life } from '../src/adapters/ports.fake.ts';
import { createVproc, type FailpointName } from '../src/index.ts';
import { FakeNet } from './fake-net.ts';
import { VirtualClock } from './virtual-clock.ts';

export class FakeCluster {
  readonly clock = new VirtualClock();
  readonly net = new FakeNet(this.clock);
  readonly nodes = new Map<number, FakeNode>();
  view: View;
  readonly client: Ics;

  constructor(count: number, seed = 1) {
    const nums = Array.from({ length: count }, (_, i) => i + 1);
    this.view = {
      transid: 1,
      term: 1,
      master: 1,
      members: nums.map((num) => viewMember(num, 1, 'UP')),
      keyServices: {},
      pidBits: 16,
    };
    for (const num of nums) this.nodes.set(num, new FakeNode(this, num, seed));
    this.client = this.net.ics(0, new Life(), 'test');
    this.client.setView(this.view);
  }

  node(num: number): FakeNode {
    const node = this.nodes.get(num);
    if (!node) throw new Error(`no node ${num}`);
    return node;
  }
  machines(): FakeMachine[] {
    return [...this.nodes.values()].map((n) => n.machine);
  }
  copies(pid: number): number {
    return runningCopies(this.machines(), pid);
  }

  async start(): Promise<this> {
    for (const node of this.nodes.values()) node.boot();
    await this.clock.result(Promise.all([...this.nodes.values()].map((n) => n.started)));
    return this;
  }

  /** A member's state changes: everyone hears it, then the nodedown step runs where one died. */
  async commit(num: number, state: View['members'][number]['state'], bootCount = 1): Promise<void> {
    const members = this.view.members.map((m) =>
      m.num === num ? viewMember(num, bootCount, state) : m,
    );
    this.view = { ...this.view, transid: this.view.transid + 1, members };
    for (const node of this.nodes.values()) node.tellView();
    this.client.setView(this.view);
    if (state !== 'DOWN') return;
    const dead = [member(num, bootCount)];
    const request = { transid: this.view.transid, dead };
    for (const node of this.up().filter((n) => n.num !== num)) {
      const step = async (): Promise<void> => {
        for (;;) {
          const reply = await this.client.call(vproc, 'nodedown', node.num, request);
          if (reply.ok || node.machine.dead) return;
        }
      };
      await this.clock.result(step());
    }
  }
  up(): FakeNode[] {
    return [...this.nodes.values()].filter((n) => !n.machine.dead);
  }

  /** The node's power goes; then the view shows it. */
  async kill(num: number): Promise<void> {
    this.node(num).die();
    await this.commit(num, 'DOWN');
  }
}

const viewMember = (num: number, bootCount: number, state: View['members'][number]['state']) => ({
  ...member(num, bootCount),
  name: `n${num}`,
  state,
  facts: {
    addresses: [`10.0.0.${num}`],
    cpus: 1,
    memBytes: 1,
    kernel: 'fake',
    arch: 'x64',
    cpuFlags: [],
    native: true,
    heartbeatPorts: { udp: 0, tcp: 0 },
    versions: {},
  },
});
export const member = (num: number, bootCount = 1): MemberId => ({
  num,
  incarnation: { bootCount, bootId: `${num}`.padStart(16, '0') },
});

export class FakeNode {
  readonly num: number;
  readonly machine: FakeMachine;
  ports: FakePorts;
  life = new Life();
  started: Promise<void> = Promise.resolve();
  /** Points at which this node's vproc, or the whole node, dies; or what happens there, awaited. */
  readonly traps = new Map<FailpointName, 'vproc' | 'node' | (() => void | Promise<void>)>();
  readonly reached: FailpointName[] = [];
  /** Its membership gives no word. */
  silentMembership = false;
  private readonly cluster: FakeCluster;
  private readonly seed: number;
  private restarts = 0;

  constructor(cluster: FakeCluster, num: number, seed: number) {
    this.cluster = cluster;
    this.num = num;
    this.seed = seed;
    this.machine = new FakeMachine({
      clock: cluster.clock,
      low: num * 65_536,
      high: num * 65_536 + 65_535,
    });
    this.ports = fakePorts(this.machine);
    this.serveOthers();
  }

  /** Membership and router of the node: they live as long as the machine. */
  private serveOthers(): void {
    const life = new Life();
    const { cluster, num, machine } = this;
    const serve = cluster.net.ics(num, life, 'clms');
    const self = member(num);
    const gone = (): boolean => machine.dead;
    const now = () => ({ view: cluster.view, self, leased: !machine.frozen });
    serve.serve(clms, {
      members: () => (gone() ? fail('EAGAIN', 'dead') : ok({ ...now(), services: [] })),
      attach: () => (gone() ? fail('EAGAIN', 'dead') : ok({ ...now(), cluster: 'fake' })),
      confirm: ({ peer }) => {
        if (this.silentMembership) return new Promise<never>(() => {});
        if (machine.frozen) return fail('ENETDOWN', 'no lease');
        const state = cluster.view.members.find((m) => m.num === peer?.num)?.state;
        if (peer && state !== 'UP') return fail('EHOSTDOWN', `node ${peer.num} is ${state}`);
        return ok({ transid: cluster.view.transid, leaseMs: 1_000 });
      },
    });
    let token = 0;
    serve.serve(ics, {
      register: () => ok({ map: [] }),
      route: () => ok({ addresses: ['10.0.0.1'], rttMs: 1 }),
      grant: () =>
        ok({
          token: `${num}${(++token).toString(16)}`.padStart(32, '0'),
          addresses: [`10.0.0.${num}`],
        }),
    });
  }

  boot(): void {
    const { cluster, num } = this;
    this.life = new Life();
    const { life } = this;
    const ports = fakePorts(this.machine);
    this.ports = ports;
    const gated = Object.fromEntries(
      Object.entries(ports).map(([k, port]) => [k, life.of(port as object)]),
    ) as unknown as FakePorts;
    const service = createVproc({
      ics: cluster.net.ics(num, life, 'vproc'),
      clock: life.clock(cluster.clock),
      random: seededRandom(this.seed * 1_000 + num * 10 + this.restarts++),
      log: noLog,
      tracer: trace.getTracer('test'),
      ports: gated,
      streams: cluster.net.streams(num, life),
      failpoint: (name) => this.at(name, life),
      num,
      servicePid: 0,
      tcp: [],
    });
    this.started = service.start();
  }

  private at(name: FailpointName, life: Life): Promise<void> {
    this.reached.push(name);
    const trap = this.traps.get(name);
    if (!trap || !life.alive) return Promise.resolve();
    this.traps.delete(name);
    if (typeof trap === 'function') return Promise.resolve(trap());
    if (trap === 'node') this.die();
    else {
      this.crash();
      this.cluster.clock.after(50, () => this.boot());
    }
    return new Promise(() => {});
  }

  /** vproc alone is killed; the machine goes on. */
  crash(): void {
    this.life.end();
  }
  die(): void {
    this.life.end();
    this.machine.die();
    for (const name of ['clms', 'ics', 'vproc'])
      this.cluster.net.servers.delete(`${this.num}.${name}`);
  }

  tellView(): void {
    if (this.machine.dead) return;
    const request = {
      view: this.cluster.view,
      self: member(this.num),
      leased: !this.machine.frozen,
    };
    this.cluster.net.servers.get(`${this.num}.vproc`)?.handlers.view?.(request, {} as never);
  }

  async run(argv: string[] = ['count']): Promise<number> {
    const reply = await this.cluster.clock.result(
      this.cluster.client.call(vproc, 'run', this.num, {
        argv,
        env: {},
        cwd: '/',
        uid: 0,
        gid: 0,
      }),
    );
    if (!reply.ok) throw new Error(`run: ${reply.errno} ${reply.detail}`);
    return reply.value.pid;
  }
  migrate(pid: number, to: number, timeoutMs = 300_000) {
    return this.cluster.client.call(vproc, 'migrate', this.num, { pid, to, uid: 0 }, { timeoutMs });
  }
}
