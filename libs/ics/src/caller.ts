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
  type Op,
  type Priority,
  type Reply,
  type ReplyFrame,
  type Source,
  type View,
} from '@ssi/contracts';
import type { CallOptions, Clock } from '@ssi/ports';
import { Deadlines } from './deadlines.ts';
import { decodeResult, encodeBody, frameMax } from './frame.ts';
import { Greeter } from './greeter.ts';
import { rtoMaxMs } from './path.ts';
import { Peers, unended, viewIncarnation } from './peers.ts';
import type { Call, Channel, Peer } from './pending.ts';
import { Sender } from './sender.ts';
import { isGone } from './standing.ts';
import { rpcSpan } from './trace.ts';
import type { Transport, Via } from './transport.ts';
import { Wire } from './wire.ts';

const timeoutDefaultMs = 5_000;
/** A message is worth this much waiting for a server that is away. */
const sendTimeoutMs = 30_000;
/** Calls of one process to one server that have not ended; past it EAGAIN. */
const pendingMax = 16_384;
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
  readonly #peers: Peers;
  readonly #greeter: Greeter;
  readonly #sender: Sender;
  #closed = false;
  #calls = 0;
  #refusals = 0;
  #unreachable = 0;

  constructor(deps: CallerDeps) {
    this.#d = deps;
    this.#deadlines = new Deadlines(deps.clock);
    this.#peers = new Peers(deps);
    const wire = new Wire(deps);
    const parts = { clock: deps.clock, deadlines: this.#deadlines, wire };
    this.#greeter = new Greeter({
      ...parts,
      wanted: (peer) => unended(peer).length > 0,
      nobody: (peer) => {
        for (const call of unended(peer))
          if (call.live === 0 && !call.waits)
            this.#sender.end(call, fail('EHOSTUNREACH', `nobody serves it on node ${peer.node}`));
      },
    });
    this.#sender = new Sender({ ...parts, peers: this.#peers, greeter: this.#greeter });
  }

  get peers(): Iterable<Peer> {
    return this.#peers.all;
  }

  counters(): Record<string, number> {
    return {
      calls: this.#calls,
      resends: this.#sender.resends,
      refusals: this.#refusals,
      unreachable: this.#unreachable,
    };
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
    const peer = this.#peers.of(node, contract.name);
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
    this.#calls++;
    const onAbort = (): void =>
      this.#sender.end(call, fail('ECANCELED', 'withdrawn by the caller'));
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
      fire: () => this.#sender.due(call),
    };
    options.signal?.addEventListener('abort', onAbort);
    peer.waiting[priority]?.push(call);
    peer.waitingCount++;
    this.#sender.pump(peer);
    // What could be sent waits for its repetition, which is earlier than its deadline.
    if (!call.channel && !call.done) this.#deadlines.add(call);
    return onAbort;
  }

  /** This node is in another life: whatever was asked in the former one is over. */
  reborn(): void {
    for (const peer of this.#peers.all)
      this.#drop(peer, () => fail('ESTALE', 'this node was taken out of the view meanwhile'));
  }

  setView(view: View): void {
    for (const peer of this.#peers.all) {
      if (peer.node === this.#d.self.node) continue;
      if (isGone(view, peer.node, peer.incarnation)) {
        this.#drop(peer, () => fail('EHOSTDOWN', `node ${peer.node} went down`));
        peer.incarnation = undefined;
      }
      peer.incarnation ??= viewIncarnation(view, peer.node);
    }
  }

  frame(f: ReplyFrame, via: Via): void {
    if (f.toBootId !== this.#d.self.bootId) return;
    const peer = this.#peers.find(f.from.node, f.contract);
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
      else if (peer.bootId !== '' && peer.bootId !== f.from.bootId) this.#sender.doubt(peer);
      return;
    }
    if (f.seq === 0) {
      if (f.kind === frameKind.refused) this.#helloRefused(peer, f, via);
      return;
    }
    const channel = this.#peers.channel(f.channel);
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
      call.rtoMs = rtoMaxMs;
      call.dueMs = Math.min(now + call.rtoMs, call.deadlineMs);
      return;
    }
    if (f.kind !== frameKind.reply) return;
    this.#sender.finishSlot(channel, call);
    if (call.settled) return;
    const reply = decodeResult(f.body) ?? fail('EBADMSG', 'the reply cannot be decoded');
    this.#sender.settle(call, this.#d.checkReplies ? checked(call.definition, reply) : reply);
  }

  unreachable(transport: Transport['name'], tag: string): void {
    const [channelId, seq, attempt] = tag.split('_').map(Number);
    if (channelId === undefined || seq === undefined || attempt === undefined) return;
    this.#unreachable++;
    const now = this.#d.clock.nowMs();
    if (seq === 0) {
      const peer = this.#peers.byId(channelId);
      peer?.paths.refused(transport, now);
      if (peer) this.#greeter.unreachable(peer, attempt);
      return;
    }
    const channel = this.#peers.channel(channelId);
    const call = channel?.slots.get(seq);
    channel?.peer.paths.refused(transport, now);
    if (!channel || !call || call.settled) return;
    call.live--;
    if (call.attempt === attempt) this.#sender.nobody(call, now);
  }

  broken(transport: Transport['name'], to?: { node: number; contract: string }): void {
    const now = this.#d.clock.nowMs();
    for (const peer of this.#peers.all) {
      if (to && (peer.node !== to.node || peer.contract !== to.contract)) continue;
      peer.paths.broke(transport);
      if (peer.hello?.via === transport) this.#greeter.again(peer);
      for (const channel of peer.channels)
        for (const call of channel?.slots.values() ?? [])
          if (call.via === transport && !call.settled) this.#sender.transmit(call, now, transport);
    }
  }

  changed(transport: Transport['name']): void {
    const now = this.#d.clock.nowMs();
    for (const peer of this.#peers.all) {
      peer.paths.renewed(transport);
      if (peer.hello) this.#greeter.again(peer);
      for (const channel of peer.channels)
        for (const call of channel?.slots.values() ?? [])
          if (call.stalled && !call.settled) this.#sender.transmit(call, now);
      this.#sender.pump(peer);
    }
  }

  /** The node map names another life of the server than is known here. */
  doubt(node: number, contract: string, bootId: string): void {
    const peer = this.#peers.find(node, contract);
    if (!peer || peer.bootId === '' || peer.bootId === bootId) return;
    this.#sender.doubt(peer);
  }

  /** Asks every way to a server how it is; what is learnt shows in the paths. */
  probe(node: number, contract: string): void {
    if (!this.#closed) this.#greeter.probeAll(this.#peers.of(node, contract));
  }

  close(): void {
    this.#closed = true;
    for (const peer of this.#peers.all) {
      for (const channel of peer.channels) if (channel) this.#sender.bye(channel);
      this.#drop(peer, () => fail('ECANCELED', 'this endpoint was closed'));
    }
    this.#deadlines.stop();
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
          if (call.stalled || call.live === 0) this.#sender.transmit(call, now);
    });
    this.#sender.pump(peer);
  }

  /** The server's former life is over: what it certainly did not run goes to the new one, in order. */
  #rebirth(channel: Channel, priority: number): void {
    const peer = channel.peer;
    const again: Call[] = [];
    for (const call of channel.slots.values()) {
      if (call.settled) call.done = true;
      else if (call.live > 0) {
        call.done = true;
        this.#sender.settle(
          call,
          fail('ETIMEDOUT', `the server on node ${peer.node} was restarted`),
        );
      } else {
        Object.assign(call, { channel: undefined, seq: 0, attempt: -1, rtoMs: 0, stalled: false });
        again.push(call);
      }
    }
    peer.waiting[priority]?.unshift(...again);
    peer.waitingCount += again.length;
    this.#peers.forget(channel);
  }

  /** A server answered that it did not run this frame. */
  #refused(channel: Channel, call: Call, f: ReplyFrame, via: Via): void {
    this.#refusals++;
    const now = this.#d.clock.nowMs();
    const otherLife = f.from.bootId !== channel.bootId;
    if (call.settled) {
      this.#sender.finishSlot(channel, call);
      if (otherLife) this.#sender.doubt(channel.peer);
      return;
    }
    if (!this.#mayDuplicate(via)) call.live--;
    const why = decodeResult(f.body);
    if (otherLife) this.#sender.doubt(channel.peer);
    else if (why && !why.ok && why.errno === 'ESTALE') {
      this.#sender.finishSlot(channel, call);
      this.#sender.settle(call, why);
    } else if (f.attempt === call.attempt) {
      channel.peer.paths.refused(via.transport, now);
      this.#sender.nobody(call, now);
    }
  }

  #helloRefused(peer: Peer, f: ReplyFrame, via: Via): void {
    const why = decodeResult(f.body);
    if (!peer.hello || !why || why.ok) return;
    if (why.errno === 'ESTALE') {
      for (const call of unended(peer)) this.#sender.end(call, why);
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
      if (channel) this.#peers.forget(channel);
    }
    for (const queue of peer.waiting) for (const call of queue.splice(0)) call.done = true;
    peer.waitingCount = 0;
    peer.bootId = '';
    this.#greeter.stop(peer);
    for (const call of calls) this.#sender.settle(call, why());
  }
}

function checked(definition: Op, reply: Reply<unknown>): Reply<unknown> {
  if (!reply.ok) return reply;
  const parsed = definition.reply.safeParse(reply.value);
  return parsed.success ? reply : fail('EBADMSG', `reply: ${parsed.error.message}`);
}
