// Moves calls along: sends what may be sent, repeats it, ends it, and sees to it that the server learns
// of every number that is finished. Which life of a server is there, the Greeter finds out.
import { type Failure, fail, type Reply } from '@ssi/contracts';
import type { Clock } from '@ssi/ports';
import type { Deadlines } from './deadlines.ts';
import type { Greeter } from './greeter.ts';
import { rtoMaxMs } from './path.ts';
import { type Peers, unended } from './peers.ts';
import type { Call, Channel, Peer } from './pending.ts';
import type { Transport } from './transport.ts';
import type { Wire } from './wire.ts';

/** The number of a call given up is brought to an end for this long. */
const cancelForMs = 60_000;
const ackIdleMs = 100;
/** No way now: looked for again after this. */
const stalledMs = 200;

export interface SenderDeps {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly peers: Peers;
  readonly wire: Wire;
  readonly greeter: Greeter;
}

export class Sender {
  readonly #d: SenderDeps;
  resends = 0;

  constructor(deps: SenderDeps) {
    this.#d = deps;
  }

  /** Sends what waits, highest priority first, in order. */
  pump(peer: Peer): void {
    if (peer.waitingCount === 0) return;
    if (peer.bootId === '') {
      this.#d.greeter.begin(peer);
      return;
    }
    const now = this.#d.clock.nowMs();
    for (let priority = 3; priority >= 0; priority--) {
      const queue = peer.waiting[priority] ?? [];
      while (queue[0]) {
        if (!this.transmit(queue[0], now)) break;
        queue.shift();
        peer.waitingCount--;
      }
    }
    // Certain at once that nobody is there: no time makes it more so.
    if (peer.waitingCount > 0 && peer.paths.absent)
      for (const call of peer.waiting.flat())
        if (call && !call.waits)
          this.end(call, fail('EHOSTUNREACH', `nobody serves it on node ${peer.node}`));
    this.#d.greeter.probe(peer);
  }

  /** False: there is no way now. */
  transmit(call: Call, now: number, avoid?: Transport['name']): boolean {
    const peer = call.peer;
    const path = peer.paths.choose(now, avoid);
    if (!path) return false;
    let channel = call.channel;
    if (!channel) {
      channel =
        peer.channels[call.priority] ??
        this.#d.peers.open(peer, call.priority, (idle) => this.ack(idle));
      call.channel = channel;
      call.seq = channel.nextSeq++;
      channel.slots.add(call.seq, call);
    } else this.resends++;
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
    this.#d.deadlines.add(call);
    this.#d.wire.call(path, channel, call, call.deadlineMs - now);
    return true;
  }

  /** A call's repetition, deadline, or the repetition of its cancel. */
  due(call: Call): void {
    const now = this.#d.clock.nowMs();
    const { channel, peer } = call;
    if (call.settled && channel) {
      if (now >= call.cancelUntilMs) {
        this.finishSlot(channel, call);
        return;
      }
    } else if (now >= call.deadlineMs) {
      const never = call.live === 0;
      const text = never ? 'could not be sent' : `no answer in time from node ${peer.node}`;
      this.end(call, fail(never ? 'EHOSTUNREACH' : 'ETIMEDOUT', text));
      return;
    }
    if (!channel) {
      call.dueMs = call.deadlineMs;
      this.#d.deadlines.add(call);
      return;
    }
    // The first silence may be the server's own time; a repetition is answered at once (`progress`).
    if (call.via !== undefined && call.attempt > 0) peer.paths.missed(call.via, call.sentMs);
    const avoid = call.via !== undefined && peer.paths.of(call.via)?.suspect ? call.via : undefined;
    this.#d.greeter.probe(peer);
    if (!this.transmit(call, now, avoid)) this.stall(call, now);
  }

  stall(call: Call, now: number): void {
    call.stalled = true;
    call.dueMs = Math.min(now + stalledMs, call.settled ? call.cancelUntilMs : call.deadlineMs);
    this.#d.deadlines.add(call);
  }

  /** The newest frame of this call certainly went to nobody. */
  nobody(call: Call, now: number): void {
    if (this.transmit(call, now)) return;
    if (call.live > 0 || call.waits) this.stall(call, now);
    else this.end(call, fail('EHOSTUNREACH', `nobody serves it on node ${call.peer.node}`));
    this.doubt(call.peer);
  }

  /** Ends the call for whoever waits for it; its number goes on until the server knows. */
  end(call: Call, reply: Failure): void {
    if (call.settled) return;
    const now = this.#d.clock.nowMs();
    this.settle(call, reply);
    if (call.channel) {
      call.cancelUntilMs = now + cancelForMs;
      call.rtoMs = 0;
      if (!this.transmit(call, now)) this.stall(call, now);
      return;
    }
    this.#d.deadlines.drop(call);
    const queue = call.peer.waiting[call.priority] ?? [];
    const at = queue.indexOf(call);
    if (at < 0) return;
    queue.splice(at, 1);
    call.peer.waitingCount--;
  }

  settle(call: Call, reply: Reply<unknown>): void {
    if (call.settled) return;
    call.settled = true;
    call.settle(reply);
  }

  finishSlot(channel: Channel, call: Call): void {
    this.#d.deadlines.drop(call);
    channel.slots.delete(call.seq);
    if (channel.slots.size > 0 || channel.ackDue) return;
    channel.ackDue = true;
    channel.dueMs = this.#d.clock.nowMs() + ackIdleMs;
    this.#d.deadlines.add(channel);
  }

  /** Once a channel is idle: the server may forget its replies. */
  ack(channel: Channel): void {
    if (channel.slots.size > 0 || channel.toldLowWater === channel.nextSeq) return;
    const path = channel.peer.paths.choose(this.#d.clock.nowMs());
    if (path) this.#d.wire.ack(path, channel, channel.nextSeq);
  }

  /** At the end of this endpoint: whatever is not finished is given up. */
  bye(channel: Channel): void {
    if (channel.toldLowWater === channel.nextSeq) return;
    const path = channel.peer.paths.choose(this.#d.clock.nowMs());
    if (path) this.#d.wire.ack(path, channel, channel.nextSeq);
  }

  /** Which life of the server is there is not certain any more. */
  doubt(peer: Peer): void {
    if (peer.bootId === '') return;
    peer.bootId = '';
    if (unended(peer).length > 0) this.#d.greeter.begin(peer);
  }
}
