// What a server says back: replies, progress, refusals, welcomes, each on the way its call came or, where
// that is gone, on another one to the caller.
import {
  type CallFrame,
  type Errno,
  fail,
  frameKind,
  type IcsErrno,
  type Reply,
  type Source,
} from '@ssi/contracts';
import { encodeReply, encodeResult } from './frame.ts';
import type { Transport, Via } from './transport.ts';

export interface VoiceDeps {
  readonly transports: readonly Transport[];
  readonly source: () => Source;
  readonly transid: () => number;
}

export class Voice {
  readonly #d: VoiceDeps;

  constructor(deps: VoiceDeps) {
    this.#d = deps;
  }

  refuse(f: CallFrame, via: Via, errno: Errno & IcsErrno, detail: string): void {
    if (f.kind === frameKind.ack) return;
    this.say(frameKind.refused, f, via, encodeResult(fail(errno, detail)), 0);
  }

  answer(f: CallFrame, via: Via, reply: Reply<unknown>): void {
    this.say(frameKind.reply, f, via, encodeResult(reply), 0);
  }

  say(kind: number, f: CallFrame, via: Via, body: Uint8Array, servedMs: number): void {
    const frame = encodeReply({
      kind,
      contract: f.contract,
      from: this.#d.source(),
      toBootId: f.from.bootId,
      channel: f.channel,
      seq: f.seq,
      attempt: f.attempt,
      transid: this.#d.transid(),
      servedMs,
      body,
    });
    if (via.send(frame)) return;
    const { node, service, bootId } = f.from;
    const caller = { node, service, ...(node === 0 && { instance: bootId }) };
    for (const transport of this.#d.transports) if (transport.backTo(caller)?.send(frame)) return;
  }
}
