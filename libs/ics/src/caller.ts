// The calling half of ICS: numbers calls, sends them by the best way, repeats them until they are
// answered or over, and ends every one of them. A call is only ever sent to a server whose boot id is
// known (hello, welcome), so that no repetition can be run by the server's next life.

import type { Tracer } from '@opentelemetry/api';
import {
  type Contract,
  type Failure,
  fail,
  findMember,
  type Op,
  type Priority,
  type Reply,
  type ReplyFrame,
  type Source,
  type View,
} from '@ssi/contracts';
import type { CallOptions, Clock } from '@ssi/ports';
import { Answers } from './answers.ts';
import { Deadlines } from './deadlines.ts';
import { encodeBody, frameMax } from './frame.ts';
import { Greeter } from './greeter.ts';
import { Peers, unended, viewIncarnation } from './peers.ts';
import type { Call, Peer } from './pending.ts';
import { Sender } from './sender.ts';
import { isGone, openContract } from './standing.ts';
import { rpcSpan } from './trace.ts';
import type { Transport, Via } from './transport.ts';
import type { VersionSpan } from './version.ts';
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
  readonly #answers: Answers;

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
    this.#answers = new Answers({
      ...deps,
      peers: this.#peers,
      greeter: this.#greeter,
      sender: this.#sender,
    });
  }

  get peers(): Iterable<Peer> {
    return this.#peers.all;
  }

  versions(node: number, contract: string): VersionSpan | undefined {
    const peer = this.#peers.find(node, contract);
    return peer?.bootId ? peer.versions : undefined;
  }

  counters(): Record<string, number> {
    return {
      calls: this.#calls,
      resends: this.#sender.resends,
      refusals: this.#answers.refusals,
      unreachable: this.#answers.unreached,
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
    // Not membership's own calls: its view may be the one that lags behind.
    const judged = node !== this.#d.self.node && contract.name !== openContract;
    if (view && judged && isGone(view, node, undefined))
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
            version: contract.version,
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
      onAnswered: options.onAnswered,
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
      place: 0,
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
    this.#answers.frame(f, via);
  }

  unreachable(transport: Transport['name'], tag: string): void {
    this.#answers.unreachable(transport, tag);
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
