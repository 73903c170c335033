// Puts the caller's frames together and hands them to a way: calls and cancels, acks, hellos.
import { frameKind, type Source } from '@ssi/contracts';
import { emptyBody, encodeCall } from './frame.ts';
import type { Path } from './path.ts';
import { type Call, type Channel, finished, lowWater, type Peer } from './pending.ts';

export interface WireDeps {
  readonly source: () => Source;
  readonly transid: () => number;
}

export class Wire {
  readonly #d: WireDeps;
  #lastHello = 0;

  constructor(deps: WireDeps) {
    this.#d = deps;
  }

  /** A call (with its body) or the cancel of one. */
  call(path: Path, channel: Channel, call: Call, timeoutMs: number): void {
    const cancel = call.settled;
    const mark = lowWater(channel);
    channel.toldLowWater = mark;
    path.transport.send({
      to: channel.peer.node,
      contract: channel.peer.contract,
      version: call.version,
      op: call.op,
      tag: `${channel.id}_${call.seq}_${call.attempt}`,
      traceparent: call.traceparent,
      frame: encodeCall({
        kind: cancel ? frameKind.cancel : frameKind.call,
        contract: channel.peer.contract,
        version: call.version,
        op: call.op,
        from: this.#d.source(),
        to: channel.peer.node,
        toBootId: channel.bootId,
        transid: this.#d.transid(),
        priority: channel.priority,
        channel: channel.id,
        seq: call.seq,
        lowWater: mark,
        finished: finished(channel),
        timeoutMs: Math.max(0, timeoutMs),
        attempt: call.attempt,
        traceparent: call.traceparent,
        body: cancel ? emptyBody : call.body,
      }),
    });
  }

  /** Tells the server how far the channel is finished. Not repeated: the next frame says it again. */
  ack(path: Path, channel: Channel, mark: number): void {
    channel.toldLowWater = mark;
    this.#bare(path, channel.peer, frameKind.ack, {
      op: 'ack',
      tag: `${channel.id}_0_0`,
      toBootId: channel.bootId,
      priority: channel.priority,
      channel: channel.id,
      lowWater: mark,
      attempt: 0,
    });
  }

  /** Asks who serves there; returns the number that `welcome` echoes. */
  hello(path: Path, peer: Peer): number {
    const attempt = ++this.#lastHello;
    this.#bare(path, peer, frameKind.hello, {
      op: 'hello',
      tag: `${peer.id}_0_${attempt}`,
      toBootId: '',
      priority: 3,
      channel: 0,
      lowWater: 0,
      attempt,
    });
    return attempt;
  }

  /** The number the next hello will carry. */
  get nextHello(): number {
    return this.#lastHello + 1;
  }

  #bare(
    path: Path,
    peer: Peer,
    kind: number,
    q: {
      op: string;
      tag: string;
      toBootId: string;
      priority: number;
      channel: number;
      lowWater: number;
      attempt: number;
    },
  ): void {
    path.transport.send({
      to: peer.node,
      contract: peer.contract,
      version: 1,
      op: q.op,
      tag: q.tag,
      frame: encodeCall({
        kind,
        contract: peer.contract,
        version: 1,
        op: q.op,
        from: this.#d.source(),
        to: peer.node,
        toBootId: q.toBootId,
        transid: this.#d.transid(),
        priority: q.priority,
        channel: q.channel,
        seq: 0,
        lowWater: q.lowWater,
        finished: [],
        timeoutMs: 0,
        attempt: q.attempt,
        body: emptyBody,
      }),
    });
  }
}
