// The router of one node: wires operations of the `ics` contract to the node map, the channels and the
// measurements. [OpenSSI ICS: node up and down, throttling, channels]
import {
  clms,
  ics as contract,
  fail,
  findMember,
  hash32,
  type MemberId,
  ok,
  type RequestOf,
  type ServiceEndpoint,
  sameIncarnation,
  talksIn,
  type View,
} from '@ssi/contracts';
import type { IcsEndpoint } from '@ssi/ics';
import { type Clock, type Handlers, type Log, type Random, sleep, type Timer } from '@ssi/ports';
import { Channels } from './channels.ts';
import { type Health, measured, ordered, withoutPeer } from './interconnects.ts';
import {
  digest,
  inView,
  type NodeMap,
  ofNode,
  servicesMax,
  withNode,
  withoutDead,
  withService,
} from './node-map.ts';
import type { Prober, RevocationStore } from './ports.ts';
import { Revocations } from './revocations.ts';
import { Watchers } from './watchers.ts';

const pingEveryMs = 500;
/** Interconnects are compared this often; only where there is more than one. */
const probeEveryMs = 2_000;
const probeTimeoutMs = 1_000;
/** Without a word of membership for this long it may have been restarted. */
const silenceMs = 2_000;
const attachRetryMs = 200;
/** A flush waits this long for local services to go by the new map; one that hangs must not fail the step. */
const settleMs = 1_000;

export interface RouterDeps {
  readonly ics: IcsEndpoint;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly prober: Prober;
  /** Absent: what was revoked is forgotten with this process. */
  readonly revocations?: RevocationStore;
  /** This node's addresses, one for each interconnect, best first. */
  readonly addresses: readonly string[];
  /** Where the router itself listens; 0: bus only. */
  readonly tcpPort: number;
  readonly pid: number;
  /** Told the nodes of each view that may be talked to, this one too. */
  readonly onMembers?: (nums: readonly number[]) => void;
  /** The router's own endpoint goes by the map too. */
  readonly setMap: (map: readonly ServiceEndpoint[], revoked?: readonly string[]) => void;
}

export interface Router {
  /** Attaches to the node's membership and keeps at it. Resolves with the first view. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export const createIcsRouter = (deps: RouterDeps): Router => new IcsRouter(deps);

class IcsRouter implements Router {
  readonly #d: RouterDeps;
  readonly #num: number;
  readonly #channels: Channels;
  readonly #watchers: Watchers;
  readonly #startMs: number;
  #map: NodeMap = [];
  readonly #revoked: Revocations;
  #health: Health = new Map();
  #view: View | undefined;
  #self: MemberId | undefined;
  #heardMs = 0;
  #stopped = false;
  readonly #timers = new Set<Timer>();

  constructor(deps: RouterDeps) {
    this.#d = deps;
    this.#num = deps.ics.self.node;
    this.#startMs = deps.clock.nowMs();
    this.#revoked = new Revocations(deps.revocations, deps.log);
    const revoked = this.#revoked.words;
    this.#watchers = new Watchers(deps.clock, { map: [], digest: this.#digest([]), revoked });
    this.#channels = new Channels({
      clock: deps.clock,
      log: deps.log,
      flush: (node) => this.#flush(node),
    });
    deps.ics.serve(contract, this.#handlers());
  }

  async start(): Promise<void> {
    await this.#attach();
    this.#every(silenceMs / 4, () => {
      if (this.#d.clock.nowMs() - this.#heardMs >= silenceMs) return this.#attach();
    });
    this.#every(pingEveryMs, () => this.#pingAll());
    if (this.#d.addresses.length > 1) this.#every(probeEveryMs, () => this.#probeAll());
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) timer.cancel();
    this.#channels.stop();
  }

  /** Again `everyMs` after each run has ended. */
  #every(everyMs: number, run: () => Promise<void> | void): void {
    if (this.#stopped) return;
    const timer = this.#d.clock.after(everyMs, async () => {
      this.#timers.delete(timer);
      await run();
      this.#every(everyMs, run);
    });
    this.#timers.add(timer);
  }

  async #attach(): Promise<void> {
    const { ics, clock, pid } = this.#d;
    const request = { service: ics.self.service, bootId: ics.self.bootId, pid };
    while (!this.#stopped) {
      const reply = await ics.call(clms, 'attach', this.#num, request, { timeoutMs: 1_000 });
      if (reply.ok) {
        this.#apply(reply.value.view, reply.value.self);
        return;
      }
      await sleep(clock, attachRetryMs);
    }
  }

  #apply(view: View, self: MemberId): void {
    this.#heardMs = this.#d.clock.nowMs();
    const [known, me] = [this.#view, this.#self];
    if (known && view.transid < known.transid) return;
    // Said again once a second: there is nothing new in it.
    if (view.transid === known?.transid && me && sameIncarnation(me.incarnation, self.incarnation))
      return;
    this.#d.ics.setView(view, self);
    this.#view = view;
    this.#self = self;
    this.#d.onMembers?.([this.#num, ...this.#peers()]);
    for (const m of view.members) {
      if (m.num === this.#num) continue;
      if (talksIn(m.state)) this.#channels.up(m.num, m.incarnation.bootId);
      else void this.#channels.down(m.num);
    }
    const own: ServiceEndpoint = {
      node: this.#num,
      incarnation: self.incarnation,
      service: this.#d.ics.self.service,
      bootId: this.#d.ics.self.bootId,
      tcp: this.#d.tcpPort
        ? this.#d.addresses.map((host) => ({ host, port: this.#d.tcpPort }))
        : [],
    };
    this.#change(withService(this.#map, own));
  }

  /** Takes over a map: local services and this endpoint learn it; other routers, where it is about this node. */
  #change(next: NodeMap): void {
    const before = digest(ofNode(this.#map, this.#num));
    const known = this.#digest(this.#map);
    this.#map = this.#view && this.#self ? inView(next, this.#view, this.#self) : next;
    if (this.#digest(this.#map) === known) return;
    this.#publish();
    if (digest(ofNode(this.#map, this.#num)) === before) return;
    for (const peer of this.#peers()) this.#tell(peer);
  }

  #publish(): void {
    const revoked = this.#revoked.words;
    this.#d.setMap(this.#map, revoked);
    this.#watchers.publish({ map: this.#map, digest: this.#digest(this.#map), revoked });
  }

  /** Of a map, and of what is revoked: whoever has another one wants news. */
  #digest(map: NodeMap): string {
    const { words } = this.#revoked;
    return digest(map) + (words.length === 0 ? '' : hash32(words.join()));
  }

  #revoke(more: readonly string[]): void {
    if (!this.#revoked.add(more)) return;
    this.#publish();
    for (const peer of this.#peers()) this.#tell(peer);
  }

  #peers(): number[] {
    const members = this.#view?.members ?? [];
    return members.filter((m) => m.num !== this.#num && talksIn(m.state)).map((m) => m.num);
  }

  #tell(peer: number): void {
    const map = ofNode(this.#map, this.#num).map((e) => ({ ...e }));
    this.#d.ics.send(contract, 'map', peer, {
      ...{ node: this.#num, map },
      revoked: [...this.#revoked.words],
    });
  }

  async #pingAll(): Promise<void> {
    const own = this.#digest(ofNode(this.#map, this.#num));
    for (const peer of this.#peers()) {
      this.#d.ics.probe(peer, contract.name);
      void this.#d.ics.call(contract, 'ping', peer, { digest: own }).then((reply) => {
        if (!reply.ok || this.#stopped) return;
        this.#channels.answered(peer);
        if (reply.value.mapWanted) this.#tell(peer);
      });
    }
  }

  /** Each interconnect on its own: a channel stays on one that works, grants need to know of all. */
  async #probeAll(): Promise<void> {
    const probes = this.#peers().flatMap((peer) => {
      const router = this.#map.find((e) => e.node === peer && e.service === contract.name);
      return (router?.tcp ?? []).map(async ({ host, port }, index) => {
        const rttMs = await this.#d.prober.connectMs(host, port, probeTimeoutMs);
        this.#health = measured(this.#health, { peer, index, rttMs });
      });
    });
    await Promise.all(probes);
  }

  async #flush(node: number): Promise<void> {
    this.#health = withoutPeer(this.#health, node);
    this.#change(this.#map.filter((e) => e.node !== node || this.#alive(e)));
    await Promise.race([this.#watchers.settled(), sleep(this.#d.clock, settleMs)]);
  }

  #alive(entry: ServiceEndpoint): boolean {
    const member = this.#view && findMember(this.#view, entry.node);
    if (!member || !talksIn(member.state)) return false;
    return sameIncarnation(member.incarnation, entry.incarnation);
  }

  /** EHOSTDOWN where nothing may be promised to that node. */
  #reachable(peer: number, incarnation?: MemberId['incarnation']) {
    if (!this.#view) return fail('EAGAIN', 'this router has no view yet');
    if (peer === this.#num) return ok();
    const member = findMember(this.#view, peer);
    if (member?.state !== 'UP')
      return fail('EHOSTDOWN', `node ${peer} is ${member?.state ?? 'unknown'}`);
    if (incarnation && !sameIncarnation(member.incarnation, incarnation))
      return fail('EHOSTDOWN', `node ${peer} is in another life`);
    const state = this.#channels.state(peer);
    if (state === 'flushing' || state === 'down')
      return fail('EHOSTDOWN', `the channel to node ${peer} is ${state}`);
    return ok();
  }

  #handlers(): Handlers<typeof contract> {
    return {
      view: ({ view, self }) => {
        this.#apply(view, self);
        return ok();
      },
      nodedown: async ({ dead }) => {
        await Promise.all(dead.map((d) => this.#nodedown(d)));
        return ok({});
      },
      status: () =>
        ok({
          service: contract.name,
          state: this.#view ? 'ready' : 'attaching',
          uptimeMs: this.#d.clock.nowMs() - this.#startMs,
          counters: { ...this.#d.ics.counters(), services: this.#map.length },
        }),
      register: (request, call) => this.#register(request, call.from.node, call.from.service),
      watch: async (request, call) => {
        if (call.from.node !== this.#num) return fail('ESTALE', 'not a service of this node');
        const news = await this.#watchers.wait(request.service, request.digest, call.signal);
        return ok({
          ...{ map: news.map.map((e) => ({ ...e })), digest: news.digest },
          revoked: [...news.revoked],
        });
      },
      map: ({ node, map, revoked }, call) => {
        if (node === call.from.node && node !== this.#num) {
          this.#change(withNode(this.#map, node, map));
          if (revoked) this.#revoke(revoked);
        }
        return ok();
      },
      revoke: ({ revoked }) => {
        this.#revoke(revoked);
        return ok({});
      },
      ping: (request, call) => {
        const held = this.#digest(ofNode(this.#map, call.from.node));
        return ok({ mapWanted: held !== request.digest });
      },
      grant: ({ peer }) => this.#grant(peer),
      route: ({ peer }) => this.#route(peer),
      channels: () => ok({ channels: this.#describe() }),
    };
  }

  async #nodedown(dead: MemberId): Promise<void> {
    this.#change(withoutDead(this.#map, [dead]));
    const member = this.#view && findMember(this.#view, dead.num);
    const back =
      member && talksIn(member.state) && !sameIncarnation(member.incarnation, dead.incarnation);
    if (back || dead.num === this.#num) return;
    this.#channels.up(dead.num, dead.incarnation.bootId); // one that was never heard of is flushed all the same
    await this.#channels.down(dead.num);
  }

  #register(entry: RequestOf<(typeof contract)['ops']['register']>, node: number, service: string) {
    if (!this.#self) return fail('EAGAIN', 'this router has no view yet');
    if (node !== this.#num || entry.node !== node || entry.service !== service)
      return fail('ESTALE', 'a service registers itself, on its own node');
    if (!sameIncarnation(entry.incarnation, this.#self.incarnation))
      return fail('ESTALE', 'this node is in another life');
    if (ofNode(this.#map, node).length >= servicesMax)
      return fail('EAGAIN', `${servicesMax} services are registered`);
    this.#change(withService(this.#map, entry));
    return ok({ map: this.#map.map((e) => ({ ...e })), revoked: [...this.#revoked.words] });
  }

  #grant(peer: number) {
    const reachable = peer === 0 ? ok() : this.#reachable(peer);
    if (!reachable.ok) return reachable;
    return ok({
      token: this.#d.random.hex(16),
      addresses: ordered(this.#d.addresses, this.#health, peer),
    });
  }

  #route(peer: MemberId) {
    const reachable = this.#reachable(peer.num, peer.incarnation);
    if (!reachable.ok) return reachable;
    const member = this.#view && findMember(this.#view, peer.num);
    const rtts = Object.values(this.#paths(peer.num)?.rttMs ?? {});
    return ok({
      addresses: ordered(member?.facts.addresses ?? [], this.#health, peer.num),
      rttMs: rtts.length > 0 ? Math.min(...rtts) : 0,
    });
  }

  #paths(node: number) {
    return this.#d.ics.peers().find((p) => p.node === node && p.contract === contract.name);
  }

  #describe() {
    return this.#channels.list().map(({ node, state }) => {
      const paths = this.#paths(node);
      const services = ofNode(this.#map, node).length;
      const counters = { pending: paths?.pending ?? 0, services };
      const row = { node, state, rttMs: { ...paths?.rttMs }, counters };
      return paths?.transport ? { ...row, transport: paths.transport } : row;
    });
  }
}
