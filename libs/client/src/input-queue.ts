// Standard input on its way to a process: bytes with offsets, kept until the node promised that they
// are in its log, sent again from there after a broken connection or a move.
import { attachChunkMax, attachWindow } from '@ssi/contracts';

export interface InputChunk {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface InputQueue {
  /** False once the queue holds `attachWindow` unpromised bytes: wait for `acked` before the next. */
  push(bytes: Uint8Array): boolean;
  /** No more bytes; `endOffset` is where input ends. */
  finish(): void;
  /** Next piece to send over this connection. */
  take(): InputChunk | undefined;
  /** Offset of the end, once everything before it was taken on this connection and it is finished. */
  takeEnd(): number | undefined;
  /** The node has everything below the offset in its log. */
  acked(offset: number): void;
  /** A new connection; the log there ends at the offset. False: somebody else has written meanwhile. */
  resume(logEnd: number): boolean;
  readonly isFull: boolean;
  /** True when everything pushed is promised and, if finished, the end was sent. */
  readonly isIdle: boolean;
}

export function inputQueue(): InputQueue {
  let chunks: InputChunk[] = [];
  /** undefined before the first connection told where the log ends. */
  let endOffset: number | undefined;
  let ackedTo = 0;
  let sentTo = 0;
  let finished = false;
  let endSent = false;
  /** Bytes pushed before the first connection. */
  let early = 0;

  const held = (): number => (endOffset === undefined ? early : endOffset - ackedTo);
  const drop = (offset: number): void => {
    ackedTo = Math.max(ackedTo, offset);
    chunks = chunks.flatMap((c) => {
      if (c.offset + c.bytes.length <= ackedTo) return [];
      if (c.offset >= ackedTo) return [c];
      return [{ offset: ackedTo, bytes: c.bytes.subarray(ackedTo - c.offset) }];
    });
  };

  return {
    push: (bytes) => {
      for (let at = 0; at < bytes.length; at += attachChunkMax) {
        const piece = bytes.slice(at, at + attachChunkMax);
        chunks.push({ offset: endOffset ?? early, bytes: piece });
        if (endOffset === undefined) early += piece.length;
        else endOffset += piece.length;
      }
      return held() < attachWindow;
    },
    finish: () => {
      finished = true;
    },
    take: () => {
      if (endOffset === undefined) return undefined;
      const next = chunks.find((c) => c.offset >= sentTo);
      if (next) sentTo = next.offset + next.bytes.length;
      return next;
    },
    takeEnd: () => {
      if (!finished || endSent || endOffset === undefined || sentTo < endOffset) return undefined;
      endSent = true;
      return endOffset;
    },
    acked: drop,
    resume: (logEnd) => {
      if (endOffset === undefined) {
        chunks = chunks.map((c) => ({ ...c, offset: c.offset + logEnd }));
        endOffset = logEnd + early;
      }
      if (logEnd > endOffset) return false;
      drop(logEnd);
      sentTo = ackedTo;
      endSent = false;
      return true;
    },
    get isFull() {
      return held() >= attachWindow;
    },
    get isIdle() {
      return held() === 0 && (!finished || endSent);
    },
  };
}
