// The embedded cluster: all services of all nodes in this process, on the memory transport and a
// key-value store in memory. It needs nothing of the machine: no root, no broker, no criu. It runs actors;
// native programs are refused with EOPNOTSUPP.
import { type ClientLink, createSsi, type Ssi } from '@ssi/client';
import { clms, fail, ok, type Reply } from '@ssi/contracts';
import {
  createIcs,
  MemoryBus,
  memoryStreams,
  openUnixDoor,
  type Transport,
  type UnixDoor,
} from '@ssi/ics';
import { memoryStore } from '@ssi/ipc-nameserver';
import { systemClock, systemRandom } from '@ssi/linux';
import type { HeartbeatMessage } from '@ssi/membership';
import { type Clock, type Ics, type Log, noLog, type Random, sleep } from '@ssi/ports';
import { createKvMemory, KvMemoryBucket } from '@ssi/stores';
import {
  answerSpans,
  memorySpanStore,
  type SpanStore,
  startTelemetry,
  type Telemetry,
} from '@ssi/telemetry';
import type { Failpoint } from '@ssi/vproc';
import { EmbeddedNode, type EmbeddedService, type EmbeddedWorld } from './embedded-node.ts';

export interface EmbeddedOptions {
  /** Nodes 1..n. */
  readonly nodes: number;
  /** Default `embedded`. */
  readonly cluster?: string;
  /** Default: this machine's. */
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Log;
  /**
   * Runs what an endpoint sends in a turn of its own, so that calls that never wait leave timers (leases)
   * theirs. Default: setImmediate, or with a clock given a timer of 0 ms on it.
   */
  readonly turn?: (fn: () => void) => void;
  /** Tests: stands in the way of a node's vproc at named points. */
  readonly failpoint?: (node: number) => Failpoint;
  /** Ratio of traces kept, 0..1; moves always are. Default 1. */
  readonly sample?: number;
}

export interface EmbeddedCluster {
  readonly cluster: string;
  /** Default handle. */
  readonly ssi: Ssi;
  readonly spans: SpanStore;
  /** Another handle, as another process would have one. */
  client(): Promise<Ssi>;
  /** Lets other processes of this user in, by a unix socket there: clients, and hosts of actors. */
  open(path: string): Promise<void>;
  /** All nodes UP within this time? ETIMEDOUT: no. */
  up(timeoutMs: number): Promise<Reply<undefined, 'ETIMEDOUT'>>;
  /** As the power of a node: its services, and the actor host on it. */
  killNode(num: number): Promise<void>;
  /** In good order. What runs there ends: move it first. */
  stopNode(num: number): Promise<void>;
  startNode(num: number): Promise<void>;
  killService(num: number, service: EmbeddedService): Promise<void>;
  startService(num: number, service: EmbeddedService): Promise<void>;
  /** Spans so far are in the store. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

const lookMs = 20;

/** What another process may ask of a single node, besides calls. */
export const nodeVerbs = ['startNode', 'stopNode', 'killNode'] as const;
export type NodeVerb = (typeof nodeVerbs)[number];

export async function createEmbeddedCluster(options: EmbeddedOptions): Promise<EmbeddedCluster> {
  const cluster = new Embedded(options);
  await cluster.start();
  return cluster;
}

class Embedded implements EmbeddedCluster {
  readonly cluster: string;
  readonly spans: SpanStore = memorySpanStore();
  private readonly options: EmbeddedOptions;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly log: Log;
  private readonly bus = new MemoryBus();
  private readonly streams = memoryStreams();
  private readonly bucket = new KvMemoryBucket();
  private readonly names = memoryStore();
  private readonly nodes = new Map<number, EmbeddedNode>();
  private readonly telemetries = new Map<string, Telemetry>();
  private readonly handles: { readonly ssi: Ssi; readonly ics: Ics }[] = [];
  /** Endpoints that clients serve on: they end with their node. */
  private readonly hosts = new Map<number, Set<() => Promise<void>>>();
  private readonly listeners = new Set<() => void>();
  private readonly turn: (fn: () => void) => void;
  private first: Ssi | undefined;
  private door: UnixDoor | undefined;

  constructor(options: EmbeddedOptions) {
    this.options = options;
    this.cluster = options.cluster ?? 'embedded';
    this.clock = options.clock ?? systemClock();
    this.random = options.random ?? systemRandom();
    this.log = options.log ?? noLog;
    const { clock } = options;
    this.turn =
      options.turn ?? (clock ? (fn) => void clock.after(0, fn) : (fn) => void setImmediate(fn));
  }

  get ssi(): Ssi {
    if (!this.first) throw new Error('the cluster has not started');
    return this.first;
  }

  async start(): Promise<void> {
    const nums = Array.from({ length: this.options.nodes }, (_, i) => i + 1);
    for (const service of ['clms', 'ics', 'dlm', 'ipc', 'vproc', 'actor', 'client'])
      for (const node of service === 'client' ? [0] : nums) await this.telemetry(service, node);
    const world = this.world();
    for (const num of nums) this.nodes.set(num, new EmbeddedNode(world, num));
    this.first = await this.client();
    await Promise.all([...this.nodes.values()].map((n) => n.start()));
  }

  private async telemetry(service: string, node: number): Promise<void> {
    const telemetry = await startTelemetry({
      ...{ service, node, cluster: this.cluster, store: this.spans, clock: this.clock },
      random: this.random,
      sample: this.options.sample ?? 1,
      global: false,
    });
    this.telemetries.set(`${node}-${service}`, telemetry);
  }
  private tracer(service: string, node: number) {
    const telemetry = this.telemetries.get(`${node}-${service}`);
    if (!telemetry) throw new Error(`no tracer for ${service} of node ${node}`);
    return telemetry.tracer;
  }

  private world(): EmbeddedWorld {
    const { clock, random, log, streams, cluster } = this;
    return {
      ...{ clock, random, log, streams, cluster },
      transport: (self) => this.transport(self),
      kv: () => createKvMemory(this.bucket),
      names: this.names,
      tracer: (service, node) => this.tracer(service, node),
      carry: (from, to, message) => this.carry(from, to, message),
      event: () => {
        for (const listener of this.listeners) listener();
      },
      failpoint: this.options.failpoint ?? (() => async () => {}),
    };
  }

  private transport(self: { node: number; service: string }): Transport {
    const inner = this.bus.transport(self);
    return { ...inner, send: (out) => this.turn(() => inner.send(out)) };
  }

  /** A heartbeat arrives in a turn of its own, as from a wire. */
  private carry(from: number, to: number, message: HeartbeatMessage): void {
    const sender = this.nodes.get(from)?.heartbeats;
    this.clock.after(0, () => {
      if (sender && this.nodes.get(from)?.heartbeats === sender)
        this.nodes.get(to)?.heartbeats?.deliver(message);
    });
  }

  async client(): Promise<Ssi> {
    const { clock, random, log } = this;
    const self = { node: 0, service: `client_${random.hex(8)}` };
    const tracer = this.tracer('client', 0);
    const ics = createIcs({
      ...self,
      clock,
      random,
      log,
      tracer,
      transports: [this.transport(self)],
    });
    const link: ClientLink = {
      ...{ cluster: this.cluster, ics, clock, tracer, spans: this.spans, streams: this.streams },
      seeds: [...this.nodes.keys()],
      uid: 0,
      onEvent: (fn) => {
        this.listeners.add(fn);
        return { stop: () => this.listeners.delete(fn) };
      },
      openEndpoint: async (num, service) => {
        const node = this.nodes.get(num);
        if (!node) return fail('EINVAL', `no node ${num} in this cluster`);
        const serving = node.endpoint(service);
        const close = (): Promise<void> => {
          this.hosts.get(num)?.delete(close);
          return serving.close();
        };
        this.hosts.set(num, (this.hosts.get(num) ?? new Set()).add(close));
        return ok({ ics: { ...serving, close }, servicePid: process.pid, tcp: [] });
      },
      close: () => ics.close(),
    };
    const ssi = createSsi(link);
    this.handles.push({ ssi, ics });
    return ssi;
  }

  async open(path: string): Promise<void> {
    const door = await openUnixDoor({
      ...{ path, cluster: this.cluster, servers: () => this.bus.servers() },
      transport: (self) => this.transport(self),
      answer: async (what, value) => {
        const verb = nodeVerbs.find((v) => v === what);
        return verb ? this[verb](Number(value)) : answerSpans(this.spans, what, value);
      },
    });
    this.door = door;
    this.listeners.add(() => door.hint());
  }

  async up(timeoutMs: number): Promise<Reply<undefined, 'ETIMEDOUT'>> {
    const endMs = this.clock.nowMs() + timeoutMs;
    for (;;) {
      const up = await this.running();
      if (up === this.nodes.size) return ok();
      if (this.clock.nowMs() >= endMs)
        return fail('ETIMEDOUT', `${up} of ${this.nodes.size} nodes are UP after ${timeoutMs} ms`);
      await sleep(this.clock, lookMs);
    }
  }

  /** Nodes that are UP and have the right to run. */
  private async running(): Promise<number> {
    const asked = [...this.nodes.keys()].map((num) =>
      this.handles[0]?.ics.call(clms, 'members', num, {}, { timeoutMs: 1_000 }),
    );
    const answers = await Promise.all(asked);
    return answers.filter((a) => {
      if (!a?.ok || !a.value.leased) return false;
      const { view, self } = a.value;
      return view.members.some((m) => m.num === self.num && m.state === 'UP');
    }).length;
  }

  private node(num: number): EmbeddedNode {
    const node = this.nodes.get(num);
    if (!node) throw new Error(`no node ${num}`);
    return node;
  }
  private async endHosts(num: number): Promise<void> {
    this.door?.drop(num);
    for (const close of [...(this.hosts.get(num) ?? [])]) await close();
  }
  async killNode(num: number): Promise<void> {
    await Promise.all([this.endHosts(num), this.node(num).kill()]);
  }
  async stopNode(num: number): Promise<void> {
    await this.node(num).leave();
    await this.endHosts(num);
  }
  startNode(num: number): Promise<void> {
    return this.node(num).start();
  }
  killService(num: number, service: EmbeddedService): Promise<void> {
    return this.node(num).killService(service);
  }
  startService(num: number, service: EmbeddedService): Promise<void> {
    return this.node(num).startService(service);
  }

  async flush(): Promise<void> {
    await Promise.all([...this.telemetries.values()].map((t) => t.flush()));
  }
  async close(): Promise<void> {
    for (const num of this.nodes.keys()) await this.endHosts(num);
    await Promise.all([...this.nodes.values()].map((n) => n.kill()));
    await this.door?.close();
    await Promise.all(this.handles.map((h) => h.ssi.close()));
    await Promise.all([...this.telemetries.values()].map((t) => t.stop()));
  }
}
