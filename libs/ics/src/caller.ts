// The calling half of ICS: numbers calls, sends them by the best way, repeats them until they are
// answered or over, and ends every one of them. A call is only ever sent to a server whose boot id is
// known (hello, welcome), so that no repetition can be run by the server's next life.

import type { Tracer } from '@opentelemetry/api';
import {
  type Contract,
  type Failure,
  fail,
  findMember,
  frameKind,
  type Incarnation,
  type Op,
  type Priority,
  type Reply,
  type ReplyFrame,
  type Source,
  talksIn,
  type View,
} from '@ssi/contracts';
import type { CallOptions, Clock } from '@ssi/ports';
import { Deadlines } from './deadlines.ts';
import { decodeResult, encodeBody, frameMax } from './frame.ts';
import { Greeter } from './greeter.ts';
import { Paths, rtoMaxMs } from './path.ts';
import type { Call, Channel, Peer } from './pending.ts';
import { isGone } from './standing.ts';
import { rpcSpan } from './trace.ts';
import type { Transport, Via } from './transport.ts';
import { Wire } from './wire.ts';

const timeoutDefaultMs = 5_000;
/** A message is worth this much waiting for a server that is away. */
const sendTimeoutMs = 30_000;
/** Calls of one process to one server that have not ended; past it EAGAIN. */
const pendingMax = 16_384;
/** Repetitions of what the server said it has: long polls, others. */
const heldLongPollMs = 10_000;
const cancelForMs = 60_000;
const ackIdleMs = 100;
/** No way now: looked for again after this. */
const stalledMs = 200;
/** Room for the header in a frame of `frameMax`. */
const headerMax = 1_024;

export interface CallerDeps {
  readonly self: { readonly node: number; readonly service: string; readonly bootId: string };
  readonly clock: Clock;
  readonly transports: readonly Transport[];
  readonly tracer: Tracer;
  readonly source: () => Source;
  readonly transid: () => number;
  readonly view: () => View | undefined;
  /** Replies are checked against their contract (tests). */
  readonly checkReplies: boolean;
}

export class Caller {
  readonly #d: CallerDeps;
  readonly #deadlines: Deadlines;
  readonly #peers = new Map<string, Peer>();
  readonly #peersById = new Map<number, Peer>();
  readonly #channels = new Map<number, Channel>();
  readonly #wire: Wire;
  readonly #greeter: Greeter;
  #lastId = 0;
  #closed = false;
  readonly counters = { calls: 0, resends: 0, refusals: 0, unreachable: 0 };

  constructor(deps: CallerDeps) {
    this.#d = deps;
    this.#deadlines = new Deadlines(deps.clock);
    this.#wire = new Wire(deps);
    this.#greeter = new Greeter({
      clock: deps.clock,
      deadlines: this.#deadlines,
      wire: this.#wire,
      wanted: (peer) => unended(peer).length > 0,
      nobody: (peer) => {
        for (const call of unended(peer))
          if (call.live === 0 && !call.waits)
            this.#end(call, fail('EHOSTUNREACH', `nobody serves it on node ${peer.node}`));
      },
    });
  }

  get peers(): Iterable<Peer> {
    return this.#peers.values();
  }

  /** `settle` is called once, possibly before this returns. Returns what cancels it. */
  call(
    contract: Contract,
    opName: string,
    node: number,
    request: unknown,
    options: CallOptions,
    message: boolean,
    settle: (reply: Reply<unknown>) => void,
  ): () => void {
    const nothing = (): void => {};
    const refuse = (failure: Failure): (() => void) => {
      settle(failure);
      return nothing;
    };
    const definition: Op | undefined = contract.ops[opName];
    if (!definition) return refuse(fail('ENOSYS', `${contract.name} has no ${opName}`));
    if (this.#closed || options.signal?.aborted)
      return refuse(fail('ECANCELED', 'withdrawn before it was sent'));
    const view = this.#d.view();
    if (view && node !== this.#d.self.node && isGone(view, node, undefined))
      return refuse(fail('EHOSTDOWN', `node ${node} is ${findMember(view, node)?.state}`));
    const body = encodeBody(request);
    if (body.length > frameMax - headerMax)
      return refuse(fail('EMSGSIZE', `${body.length} bytes: send it out of line`));
    const peer = this.#peer(node, contract.name);
    let pending = peer.waitingCount;
    for (const c of peer.channels) pending += c?.slots.size ?? 0;
    if (pending >= pendingMax)
      return refuse(fail('EAGAIN', `${pending} calls to ${contract.name} of node ${node} pending`));
    const raised = options.context ? Math.min(3, options.context.priority + 1) : 0;
    const priority = Math.max(definition.priority ?? 0, raised) as Priority;
    const parent = options.context?.traceparent;
    const span =
      parent === undefined
        ? undefined
        : rpcSpan({
            tracer: this.#d.tracer,
            kind: 'client',
            contract: contract.name,
            op: opName,
            parent,
            node: this.#d.self.node,
            peer: `${node}-${contract.name}`,
            transid: this.#d.transid(),
          });
    const now = this.#d.clock.nowMs();
    const deadlineMs =
      now +
      (options.timeoutMs ?? (message ? sendTimeoutMs : (definition.timeoutMs ?? timeoutDefaultMs)));
    this.counters.calls++;
    const onAbort = (): void => this.#end(call, fail('ECANCELED', 'withdrawn by the caller'));
    const call: Call = {
      peer,
      op: opName,
      version: contract.version,
      definition,
      priority,
      body,
      deadlineMs,
      waits: message || options.waitForServer === true,
      span,
      traceparent: span?.traceparent ?? parent,
      settle: (reply) => {
        options.signal?.removeEventListener('abort', onAbort);
        span?.end(reply);
        settle(reply);
      },
      settled: false,
      channel: undefined,
      seq: 0,
      attempt: -1,
      live: 0,
      via: undefined,
      sentMs: 0,
      rtoMs: 0,
      stalled: false,
      inWork: false,
      cancelUntilMs: 0,
      dueMs: deadlineMs,
      bucket: Number.POSITIVE_INFINITY,
      done: false,
      fire: () => this.#due(call),
    };
    options.signal?.addEventListener('abort', onAbort);
    peer.waiting[priority]?.push(call);
    peer.waitingCount++;
    this.#pump(peer);
    // What could be sent waits for its repetition, which is earlier than its deadline.
    if (!call.channel && !call.done) this.#deadlines.add(call);
    return onAbort;
  }

  setView(view: View): void {
    for (const peer of this.#peers.values()) {
      if (peer.node === this.#d.self.node) continue;
      if (isGone(view, peer.node, peer.incarnation)) {
        this.#drop(peer, () => fail('EHOSTDOWN', `node ${peer.node} went down`));
        peer.incarnation = undefined;
      }
      peer.incarnation ??= this.#viewIncarnation(view, peer.node);
    }
  }

  frame(f: ReplyFrame, via: Via): void {
    if (f.toBootId !== this.#d.self.bootId) return;
    const peer = this.#peers.get(`${f.from.node}/${f.contract}`);
    if (!peer) return;
    const view = this.#d.view();
    if (view && f.from.incarnation && peer.node !== this.#d.self.node) {
      // A word from a former life is no answer, whatever it says.
      if (isGone(view, peer.node, f.from.incarnation)) return;
    }
    const now = this.#d.clock.nowMs();
    peer.paths.heard(via.transport, now);
    if (f.kind === frameKind.welcome) {
      if (this.#greeter.welcome(peer, f, via.transport)) this.#known(peer, f);
      else if (peer.bootId !== '' && peer.bootId !== f.from.bootId) this.#doubt(peer);
      return;
    }
    if (f.seq === 0) {
      if (f.kind === frameKind.refused) this.#helloRefused(peer, f, via);
      return;
    }
    const channel = this.#channels.get(f.channel);
    const call = channel?.slots.get(f.seq);
    if (!channel || channel.peer !== peer || !call) return;
    if (f.kind === frameKind.refused) {
      this.#refused(channel, call, f, via);
      return;
    }
    if (f.from.bootId !== channel.bootId) return;
    if (f.from.incarnation) peer.incarnation = f.from.incarnation;
    if (f.attempt === call.attempt && via.transport === call.via)
      peer.paths.measured(via.transport, now - call.sentMs - f.servedMs);
    if (f.kind === frameKind.progress) {
      if (call.settled) return;
      call.inWork = true;
      call.rtoMs = call.definition.longPoll ? heldLongPollMs : rtoMaxMs;
      call.dueMs = Math.min(now + call.rtoMs, call.deadlineMs);
      return;
    }
    if (f.kind !== frameKind.reply) return;
    this.#finishSlot(channel, call);
    if (call.settled) return;
    const reply = decodeResult(f.body) ?? fail('EBADMSG', 'the reply cannot be decoded');
    this.#settle(call, this.#d.checkReplies ? checked(call.definition, reply) : reply);
  }

  unreachable(transport: Transport['name'], tag: string): void {
    const [channelId, seq, attempt] = tag.split('_').map(Number);
    if (channelId === undefined || seq === undefined || attempt === undefined) return;
    this.counters.unreachable++;
    const now = this.#d.clock.nowMs();
    if (seq === 0) {
      const peer = this.#peersById.get(channelId);
      peer?.paths.refused(transport, now);
      if (peer) this.#greeter.unreachable(peer, attempt);
      return;
    }
    const channel = this.#channels.get(channelId);
    const call = channel?.slots.get(seq);
    channel?.peer.paths.refused(transport, now);
    if (!channel || !call || call.settled) return;
    call.live--;
    if (call.attempt === attempt) this.#nobody(call, now);
  }

  broken(transport: Transport['name'], to?: { node: number; contract: string }): void {
    const now = this.#d.clock.nowMs();
    for (const peer of this.#peers.values()) {
      if (to && (peer.node !== to.node || peer.contract !== to.contract)) continue;
      peer.paths.broke(transport);
      if (peer.hello?.via === transport) this.#greeter.again(peer);
      for (const channel of peer.channels)
        for (const call of channel?.slots.values() ?? [])
          if (call.via === transport && !call.settled) this.#transmit(call, now, transport);
    }
  }

  changed(transport: Transport['name']): void {
    const now = this.#d.clock.nowMs();
    for (const peer of this.#peers.values()) {
      peer.paths.renewed(transport);
      if (peer.hello) this.#greeter.again(peer);
      for (const channel of peer.channels)
        for (const call of channel?.slots.values() ?? [])
          if (call.stalled && !call.settled) this.#transmit(call, now);
      this.#pump(peer);
    }
  }

  /** The node map names another life of the server than is known here. */
  doubt(node: number, contract: string, bootId: string): void {
    const peer = this.#peers.get(`${node}/${contract}`);
    if (!peer || peer.bootId === '' || peer.bootId === bootId) return;
    this.#doubt(peer);
  }

  /** Asks every way to a server how it is; what is learnt shows in the paths. */
  probe(node: number, contract: string): void {
    if (!this.#closed) this.#greeter.probeAll(this.#peer(node, contract));
  }

  close(): void {
    this.#closed = true;
    for (const peer of this.#peers.values()) {
      for (const channel of peer.channels)
        if (channel && channel.toldLowWater < channel.nextSeq) this.#ack(channel);
      this.#drop(peer, () => fail('ECANCELED', 'this endpoint was closed'));
    }
    this.#deadlines.stop();
  }

  #viewIncarnation(view: View | undefined, node: number): Incarnation | undefined {
    const member = view && findMember(view, node);
    return member && talksIn(member.state) ? member.incarnation : undefined;
  }

  #peer(node: number, contract: string): Peer {
    const key = `${node}/${contract}`;
    const known = this.#peers.get(key);
    if (known) return known;
    const peer: Peer = {
      id: ++this.#lastId,
      node,
      contract,
      paths: new Paths(this.#d.transports, node, contract, this.#d.clock.nowMs()),
      bootId: '',
      incarnation: this.#viewIncarnation(this.#d.view(), node),
      channels: [undefined, undefined, undefined, undefined],
      waiting: [[], [], [], []],
      waitingCount: 0,
      hello: undefined,
      probes: new Map(),
    };
    this.#peers.set(key, peer);
    this.#peersById.set(peer.id, peer);
    return peer;
  }

  #channel(peer: Peer, priority: Priority): Channel {
    const channel: Channel = {
      id: ++this.#lastId,
      peer,
      priority,
      bootId: peer.bootId,
      nextSeq: 1,
      slots: new Map(),
      toldLowWater: 1,
      ackDue: false,
      dueMs: 0,
      bucket: Number.POSITIVE_INFINITY,
      done: false,
      fire: () => {
        channel.ackDue = false;
        if (channel.slots.size === 0 && channel.toldLowWater < channel.nextSeq) this.#ack(channel);
      },
    };
    peer.channels[priority] = channel;
    this.#channels.set(channel.id, channel);
    return channel;
  }

  /** Sends what waits, highest priority first, in order. */
  #pump(peer: Peer): void {
    if (peer.waitingCount === 0) return;
    if (peer.bootId === '') {
      this.#greeter.begin(peer);
      return;
    }
    const now = this.#d.clock.nowMs();
    for (let priority = 3; priority >= 0; priority--) {
      const queue = peer.waiting[priority] ?? [];
      while (queue[0]) {
        if (!this.#transmit(queue[0], now)) break;
        queue.shift();
        peer.waitingCount--;
      }
    }
    this.#greeter.probe(peer);
  }

  /** False: there is no way now. */
  #transmit(call: Call, now: number, avoid?: Transport['name']): boolean {
    const peer = call.peer;
    const path = peer.paths.choose(now, avoid);
    if (!path) return false;
    let channel = call.channel;
    if (!channel) {
      channel = peer.channels[call.priority] ?? this.#channel(peer, call.priority);
      call.channel = channel;
      call.seq = channel.nextSeq++;
      channel.slots.set(call.seq, call);
    } else this.counters.resends++;
    call.attempt++;
    if (!call.settled) call.live++;
    call.stalled = false;
    call.via = path.transport.name;
    call.sentMs = now;
    path.sentMs = now;
    call.rtoMs =
      call.rtoMs === 0
        ? peer.paths.rtoMs(path)
        : Math.max(call.rtoMs, Math.min(rtoMaxMs, 2 * call.rtoMs));
    const untilMs = call.settled ? call.cancelUntilMs : call.deadlineMs;
    call.dueMs = Math.min(now + call.rtoMs, untilMs);
    this.#deadlines.add(call);
    this.#wire.call(path, channel, call, call.deadlineMs - now);
    return true;
  }

  /** A call's repetition, deadline, or the repetition of its cancel. */
  #due(call: Call): void {
    const now = this.#d.clock.nowMs();
    const { channel, peer } = call;
    if (call.settled && channel) {
      if (now >= call.cancelUntilMs) {
        this.#finishSlot(channel, call);
        return;
      }
    } else if (now >= call.deadlineMs) {
      const never = call.live === 0;
      const text = never ? 'could not be sent' : `no answer in time from node ${peer.node}`;
      this.#end(call, fail(never ? 'EHOSTUNREACH' : 'ETIMEDOUT', text));
      return;
    }
    if (!channel) {
      call.dueMs = call.deadlineMs;
      this.#deadlines.add(call);
      return;
    }
    if (call.via !== undefined) peer.paths.missed(call.via, call.sentMs);
    const avoid = call.via !== undefined && peer.paths.of(call.via)?.suspect ? call.via : undefined;
    this.#greeter.probe(peer);
    if (!this.#transmit(call, now, avoid)) this.#stall(call, now);
  }

  #stall(call: Call, now: number): void {
    call.stalled = true;
    call.dueMs = Math.min(now + stalledMs, call.settled ? call.cancelUntilMs : call.deadlineMs);
    this.#deadlines.add(call);
  }

  /** The newest frame of this call certainly went to nobody. */
  #nobody(call: Call, now: number): void {
    if (this.#transmit(call, now)) return;
    if (call.live > 0 || call.waits) this.#stall(call, now);
    else this.#end(call, fail('EHOSTUNREACH', `nobody serves it on node ${call.peer.node}`));
    this.#doubt(call.peer);
  }

  /** Ends the call for whoever waits for it; its number goes on until the server knows. */
  #end(call: Call, reply: Failure): void {
    if (call.settled) return;
    const now = this.#d.clock.nowMs();
    this.#settle(call, reply);
    if (call.channel) {
      call.cancelUntilMs = now + cancelForMs;
      call.rtoMs = 0;
      if (!this.#transmit(call, now)) this.#stall(call, now);
      return;
    }
    call.done = true;
    const queue = call.peer.waiting[call.priority] ?? [];
    const at = queue.indexOf(call);
    if (at < 0) return;
    queue.splice(at, 1);
    call.peer.waitingCount--;
  }

  #settle(call: Call, reply: Reply<unknown>): void {
    if (call.settled) return;
    call.settled = true;
    call.settle(reply);
  }

  #finishSlot(channel: Channel, call: Call): void {
    call.done = true;
    channel.slots.delete(call.seq);
    if (channel.slots.size > 0 || channel.ackDue) return;
    channel.ackDue = true;
    channel.dueMs = this.#d.clock.nowMs() + ackIdleMs;
    this.#deadlines.add(channel);
  }

  #ack(channel: Channel): void {
    const path = channel.peer.paths.choose(this.#d.clock.nowMs());
    if (path) this.#wire.ack(path, channel, channel.nextSeq);
  }

  /** Which life of the server is there is not certain any more. */
  #doubt(peer: Peer): void {
    if (peer.bootId === '') return;
    peer.bootId = '';
    if (unended(peer).length > 0) this.#greeter.begin(peer);
  }

  #known(peer: Peer, f: ReplyFrame): void {
    peer.bootId = f.from.bootId;
    peer.incarnation = f.from.incarnation ?? peer.incarnation;
    const now = this.#d.clock.nowMs();
    peer.channels.forEach((channel, priority) => {
      if (!channel) return;
      if (channel.bootId !== peer.bootId) this.#rebirth(channel, priority);
      else
        for (const call of channel.slots.values())
          if (call.stalled || call.live === 0) this.#transmit(call, now);
    });
    this.#pump(peer);
  }

  /** The server's former life is over: what it certainly did not run goes to the new one, in order. */
  #rebirth(channel: Channel, priority: number): void {
    const peer = channel.peer;
    const again: Call[] = [];
    for (const call of channel.slots.values()) {
      if (call.settled) call.done = true;
      else if (call.live > 0) {
        call.done = true;
        this.#settle(call, fail('ETIMEDOUT', `the server on node ${peer.node} was restarted`));
      } else {
        Object.assign(call, { channel: undefined, seq: 0, attempt: -1, rtoMs: 0, stalled: false });
        again.push(call);
      }
    }
    peer.waiting[priority]?.unshift(...again);
    peer.waitingCount += again.length;
    this.#forget(channel);
  }

  #forget(channel: Channel): void {
    channel.done = true;
    channel.slots.clear();
    channel.peer.channels[channel.priority] = undefined;
    this.#channels.delete(channel.id);
  }

  /** A server answered that it did not run this frame. */
  #refused(channel: Channel, call: Call, f: ReplyFrame, via: Via): void {
    this.counters.refusals++;
    const now = this.#d.clock.nowMs();
    const otherLife = f.from.bootId !== channel.bootId;
    if (call.settled) {
      this.#finishSlot(channel, call);
      if (otherLife) this.#doubt(channel.peer);
      return;
    }
    if (!this.#mayDuplicate(via)) call.live--;
    const why = decodeResult(f.body);
    if (otherLife) this.#doubt(channel.peer);
    else if (why && !why.ok && why.errno === 'ESTALE') {
      this.#finishSlot(channel, call);
      this.#settle(call, why);
    } else if (f.attempt === call.attempt) {
      channel.peer.paths.refused(via.transport, now);
      this.#nobody(call, now);
    }
  }

  #helloRefused(peer: Peer, f: ReplyFrame, via: Via): void {
    const why = decodeResult(f.body);
    if (!peer.hello || !why || why.ok) return;
    if (why.errno === 'ESTALE') {
      for (const call of unended(peer)) this.#end(call, why);
      return;
    }
    peer.paths.refused(via.transport, this.#d.clock.nowMs());
    this.#greeter.unreachable(peer, f.attempt);
  }

  #mayDuplicate(via: Via): boolean {
    return this.#d.transports.some((t) => t.name === via.transport && t.mayDuplicate);
  }

  /** Ends every call to this peer and forgets its channels. */
  #drop(peer: Peer, why: () => Failure): void {
    const calls = unended(peer);
    for (const channel of peer.channels) {
      for (const call of channel?.slots.values() ?? []) call.done = true;
      if (channel) this.#forget(channel);
    }
    for (const queue of peer.waiting) for (const call of queue.splice(0)) call.done = true;
    peer.waitingCount = 0;
    peer.bootId = '';
    this.#greeter.stop(peer);
    for (const call of calls) this.#settle(call, why());
  }
}

function unended(peer: Peer): Call[] {
  const calls: Call[] = [];
  for (const channel of peer.channels)
    for (const call of channel?.slots.values() ?? []) if (!call.settled) calls.push(call);
  for (const queue of peer.waiting) calls.push(...queue);
  return calls;
}

function checked(definition: Op, reply: Reply<unknown>): Reply<unknown> {
  if (!reply.ok) return reply;
  const parsed = definition.reply.safeParse(reply.value);
  return parsed.success ? reply : fail('EBADMSG', `reply: ${parsed.error.message}`);
}
