// What comes back to the caller: replies, progress, welcomes, refusals, and the word that nobody was
// there. Decides for each call whether it ended, goes on, or goes to the server's next life.
import { fail, frameKind, type Op, type Reply, type ReplyFrame, type View } from '@ssi/contracts';
import type { Clock } from '@ssi/ports';
import { decodeResult } from './frame.ts';
import type { Greeter } from './greeter.ts';
import { rtoMaxMs } from './path.ts';
import { type Peers, unended } from './peers.ts';
import type { Call, Channel, Peer } from './pending.ts';
import type { Sender } from './sender.ts';
import { isGone } from './standing.ts';
import type { Transport, Via } from './transport.ts';
import { decodeVersions } from './version.ts';

export interface AnswersDeps {
  readonly self: { readonly node: number; readonly bootId: string };
  readonly clock: Clock;
  readonly transports: readonly Transport[];
  readonly view: () => View | undefined;
  /** Replies are checked against their contract (tests). */
  readonly checkReplies: boolean;
  readonly peers: Peers;
  readonly greeter: Greeter;
  readonly sender: Sender;
}

export class Answers {
  readonly #d: AnswersDeps;
  refusals = 0;
  unreached = 0;

  constructor(deps: AnswersDeps) {
    this.#d = deps;
  }

  frame(f: ReplyFrame, via: Via): void {
    if (f.toBootId !== this.#d.self.bootId) return;
    const known = this.#d.peers.channel(f.channel);
    const peer = known?.peer ?? this.#d.peers.find(f.from.node, f.contract);
    if (!peer || peer.node !== f.from.node || peer.contract !== f.contract) return;
    const view = this.#d.view();
    if (view && f.from.incarnation && peer.node !== this.#d.self.node) {
      // A word from a former life is no answer, whatever it says.
      if (isGone(view, peer.node, f.from.incarnation)) return;
    }
    const now = this.#d.clock.nowMs();
    peer.paths.heard(via.transport, now);
    if (f.kind === frameKind.welcome) {
      if (this.#d.greeter.welcome(peer, f, via.transport)) this.#known(peer, f);
      else if (peer.bootId !== '' && peer.bootId !== f.from.bootId) this.#d.sender.doubt(peer);
      return;
    }
    if (f.seq === 0) {
      if (f.kind === frameKind.refused) this.#helloRefused(peer, f, via);
      return;
    }
    const channel = known;
    const call = channel?.slots.get(f.seq);
    if (!channel || !call) return;
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
    this.#d.sender.finishSlot(channel, call);
    if (call.settled) return;
    call.onAnswered?.(f.transid);
    const reply = decodeResult(f.body) ?? fail('EBADMSG', 'the reply cannot be decoded');
    this.#d.sender.settle(call, this.#d.checkReplies ? checked(call.definition, reply) : reply);
  }

  unreachable(transport: Transport['name'], tag: string): void {
    const [channelId, seq, attempt] = tag.split('_').map(Number);
    if (channelId === undefined || seq === undefined || attempt === undefined) return;
    this.unreached++;
    const now = this.#d.clock.nowMs();
    if (seq === 0) {
      const peer = this.#d.peers.byId(channelId);
      peer?.paths.refused(transport, now);
      if (peer) this.#d.greeter.unreachable(peer, attempt);
      return;
    }
    const channel = this.#d.peers.channel(channelId);
    const call = channel?.slots.get(seq);
    channel?.peer.paths.refused(transport, now);
    if (!channel || !call || call.settled) return;
    call.live--;
    if (call.attempt === attempt) this.#d.sender.nobody(call, now);
  }

  #known(peer: Peer, f: ReplyFrame): void {
    peer.bootId = f.from.bootId;
    peer.versions = decodeVersions(f.body);
    peer.incarnation = f.from.incarnation ?? peer.incarnation;
    const now = this.#d.clock.nowMs();
    peer.channels.forEach((channel, priority) => {
      if (!channel) return;
      if (channel.bootId !== peer.bootId) this.#rebirth(channel, priority);
      else
        for (const call of channel.slots.values())
          if (call.stalled || call.live === 0) this.#d.sender.transmit(call, now);
    });
    this.#d.sender.pump(peer);
  }

  /** The server's former life is over: what it certainly did not run goes to the new one, in order. */
  #rebirth(channel: Channel, priority: number): void {
    const peer = channel.peer;
    const again: Call[] = [];
    for (const call of channel.slots.values()) {
      if (call.settled) call.done = true;
      else if (call.live > 0) {
        call.done = true;
        this.#d.sender.settle(
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
    this.#d.peers.forget(channel);
  }

  /** A server answered that it did not run this frame. */
  #refused(channel: Channel, call: Call, f: ReplyFrame, via: Via): void {
    this.refusals++;
    const now = this.#d.clock.nowMs();
    const otherLife = f.from.bootId !== channel.bootId;
    if (call.settled) {
      this.#d.sender.finishSlot(channel, call);
      if (otherLife) this.#d.sender.doubt(channel.peer);
      return;
    }
    if (!this.#mayDuplicate(via)) call.live--;
    const why = decodeResult(f.body);
    if (otherLife) this.#d.sender.doubt(channel.peer);
    else if (why && !why.ok && why.errno === 'ESTALE') {
      this.#d.sender.finishSlot(channel, call);
      this.#d.sender.settle(call, why);
    } else if (f.attempt === call.attempt) {
      channel.peer.paths.refused(via.transport, now);
      this.#d.sender.nobody(call, now);
    }
  }

  #helloRefused(peer: Peer, f: ReplyFrame, via: Via): void {
    const why = decodeResult(f.body);
    if (!peer.hello || !why || why.ok) return;
    if (why.errno === 'ESTALE') {
      for (const call of unended(peer)) this.#d.sender.end(call, why);
      return;
    }
    peer.paths.refused(via.transport, this.#d.clock.nowMs());
    this.#d.greeter.unreachable(peer, f.attempt);
  }

  #mayDuplicate(via: Via): boolean {
    return this.#d.transports.some((t) => t.name === via.transport && t.mayDuplicate);
  }
}

function checked(definition: Op, reply: Reply<unknown>): Reply<unknown> {
  if (!reply.ok) return reply;
  const parsed = definition.reply.safeParse(reply.value);
  return parsed.success ? reply : fail('EBADMSG', `reply: ${parsed.error.message}`);
}
