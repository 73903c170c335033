// One node of the embedded cluster: its membership, router, lock manager, IPC and vproc in this process, on the memory
// transport, with what a real node keeps on disk and tmpfs kept here. It runs actors only.
import { arch, availableParallelism, release, totalmem } from 'node:os';
import type { Tracer } from '@opentelemetry/api';
import { pidRange } from '@ssi/contracts';
import { createDlm, memoryTokenRecord, type TokenRecord } from '@ssi/dlm';
import { createIcs, type IcsEndpoint, type Transport } from '@ssi/ics';
import { createIcsRouter, fakeProber, type Router } from '@ssi/ics-router';
import {
  createIpc,
  type IdRecord,
  type MemoryStore,
  memoryIdRecord,
  memoryNameCache,
} from '@ssi/ipc-nameserver';
import {
  createFakeDisk,
  createFakeHeartbeats,
  createMembership,
  type FakeDisk,
  type FakeHeartbeats,
  type HeartbeatMessage,
  type Membership,
  timing,
} from '@ssi/membership';
import type { Clock, Kv, Log, Random, Streams } from '@ssi/ports';
import {
  createVproc,
  type Failpoint,
  memoryRecords,
  noNativePorts,
  type Vproc,
  type VprocPorts,
} from '@ssi/vproc';

export type EmbeddedService = 'membership' | 'ics-router' | 'dlm' | 'ipc-nameserver' | 'vproc';

export interface EmbeddedWorld {
  readonly cluster: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  transport(self: { node: number; service: string }): Transport;
  readonly streams: Streams;
  kv(): Kv;
  /** What Redis is to other clusters. */
  readonly names: MemoryStore;
  tracer(service: string, node: number): Tracer;
  /** To the node's heartbeat channel, if it runs. */
  carry(from: number, to: number, message: HeartbeatMessage): void;
  event(event: string, body: unknown): void;
  failpoint(node: number): Failpoint;
}

interface Running {
  readonly ics: IcsEndpoint;
  stop(): Promise<void>;
}

export class EmbeddedNode {
  readonly num: number;
  heartbeats: FakeHeartbeats | undefined;
  private readonly world: EmbeddedWorld;
  private readonly disk: FakeDisk = createFakeDisk();
  private ports: VprocPorts;
  private tokens: TokenRecord = memoryTokenRecord();
  private ids: IdRecord = memoryIdRecord();
  private readonly running = new Map<EmbeddedService, Running>();
  private membership: Membership | undefined;

  constructor(world: EmbeddedWorld, num: number) {
    this.world = world;
    this.num = num;
    this.ports = this.freshPorts();
  }

  private freshPorts(): VprocPorts {
    const records = { records: memoryRecords(), state: memoryRecords() };
    const range = pidRange(this.num, 16);
    return noNativePorts({ ...records, actorRecords: memoryRecords() }, range);
  }

  /** Resolves when all its services run; UP is the view's word. */
  async start(): Promise<void> {
    await this.startService('membership');
    const others = ['ics-router', 'dlm', 'ipc-nameserver', 'vproc'] as const;
    await Promise.all(others.map((name) => this.startService(name)));
  }

  /** Its services end here and now, as the node's power going does. */
  async kill(): Promise<void> {
    this.disk.reboot();
    this.ports = this.freshPorts();
    this.tokens = memoryTokenRecord();
    this.ids = memoryIdRecord();
    await Promise.all([...this.running.keys()].map((s) => this.killService(s)));
  }

  /** In good order: the view says so before it ends. */
  async leave(): Promise<void> {
    await this.membership?.leave();
    await this.kill();
  }

  /** As SIGKILL of its process. */
  async killService(name: EmbeddedService): Promise<void> {
    const service = this.running.get(name);
    this.running.delete(name);
    await service?.ics.close();
    await service?.stop();
  }

  async startService(name: EmbeddedService): Promise<void> {
    if (this.running.has(name)) return;
    if (name === 'membership') await this.startMembership();
    else if (name === 'ics-router') await this.startRouter();
    else if (name === 'dlm') await this.startDlm();
    else if (name === 'ipc-nameserver') await this.startIpc();
    else await this.startVproc();
  }

  endpoint(service: string): IcsEndpoint {
    const { clock, random, log } = this.world;
    const self = { node: this.num, service };
    const tracer = this.world.tracer(service, this.num);
    return createIcs({
      ...self,
      clock,
      random,
      log,
      tracer,
      transports: [this.world.transport(self)],
    });
  }

  private async startMembership(): Promise<void> {
    const { clock, random, log, cluster } = this.world;
    const ics = this.endpoint('clms');
    const heartbeats = createFakeHeartbeats(this.num, this.world.carry);
    this.heartbeats = heartbeats;
    const membership = await createMembership({
      config: {
        cluster,
        num: this.num,
        name: `n${this.num}`,
        facts: {
          addresses: [`n${this.num}`],
          cpus: availableParallelism(),
          memBytes: totalmem(),
          kernel: release(),
          arch: arch(),
          cpuFlags: [],
          native: false,
          versions: {},
          keyServices: ['ipc'],
        },
        pidBits: 16,
        services: ['ics', 'dlm', 'ipc', 'vproc'],
        quorum: {},
        timing,
      },
      clock,
      random,
      log,
      kv: this.world.kv(),
      ics,
      heartbeats,
      // Nothing native to freeze: the host of the actors goes by the view itself.
      guard: {
        lease: () => {},
        kill: async () => ({ ok: true, value: undefined }),
        close: () => {},
      },
      disk: this.disk,
      publishEvent: (event, body) => this.world.event(event, body),
    });
    this.membership = membership;
    this.running.set('membership', {
      ics,
      stop: async () => {
        if (this.heartbeats === heartbeats) this.heartbeats = undefined;
        membership.stop();
      },
    });
  }

  private async startRouter(): Promise<void> {
    const ics = this.endpoint('ics');
    const router: Router = createIcsRouter({
      ics,
      ...{ clock: this.world.clock, random: this.world.random, log: this.world.log },
      prober: fakeProber(new Map()),
      addresses: [`n${this.num}`],
      tcpPort: 0,
      pid: process.pid,
      setMap: () => {},
    });
    this.running.set('ics-router', { ics, stop: () => router.stop() });
    await router.start();
  }

  private async startDlm(): Promise<void> {
    const { clock, log } = this.world;
    const ics = this.endpoint('dlm');
    const dlm = createDlm({
      ...{ ics, clock, log, tokens: this.tokens, servicePid: process.pid, tcp: [] },
    });
    this.runUntilOutlived('dlm', ics, dlm);
    await dlm.start();
  }

  private async startIpc(): Promise<void> {
    const { clock, log, names, cluster } = this.world;
    const ics = this.endpoint('ipc');
    const ipc = createIpc({
      ...{ ics, clock, log, ids: this.ids, servicePid: process.pid, tcp: [] },
      cache: memoryNameCache(names, cluster),
    });
    this.runUntilOutlived('ipc-nameserver', ics, ipc);
    await ipc.start();
  }

  /** As a supervisor does: where a life is over, another one begins. */
  private runUntilOutlived(
    name: EmbeddedService,
    ics: IcsEndpoint,
    service: { stop(): void; readonly outlived: Promise<void> },
  ): void {
    const running = { ics, stop: async () => service.stop() };
    this.running.set(name, running);
    void service.outlived.then(async () => {
      if (this.running.get(name) !== running) return;
      await this.killService(name);
      await this.startService(name);
    });
  }

  private async startVproc(): Promise<void> {
    const { clock, random, log, streams } = this.world;
    const ics = this.endpoint('vproc');
    const vproc: Vproc = createVproc({
      ...{ ics, clock, random, log, streams },
      tracer: this.world.tracer('vproc', this.num),
      ports: this.ports,
      failpoint: this.world.failpoint(this.num),
      num: this.num,
      servicePid: process.pid,
      tcp: [],
    });
    this.running.set('vproc', { ics, stop: () => vproc.stop() });
    await vproc.start();
  }
}
