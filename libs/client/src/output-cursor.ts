// How far an attached client has read each output stream: takes every byte once, in order, whatever a
// new connection repeats, and says where the log no longer had what it asked for.
import type { AttachOutputName } from '@ssi/contracts';

export interface OutputCursor {
  /** From which offset the next connection should send each stream. */
  from(): Partial<Record<AttachOutputName, number>>;
  /** The part of a message that is new; undefined: all of it was there. `gap`: bytes lost before it. */
  accept(
    stream: AttachOutputName,
    offset: number,
    bytes: Uint8Array,
  ): { offset: number; bytes: Uint8Array; gap: number } | undefined;
}

export function outputCursor(start: Partial<Record<AttachOutputName, number>>): OutputCursor {
  const next = new Map(Object.entries(start) as [AttachOutputName, number][]);
  return {
    from: () => Object.fromEntries(next),
    accept: (stream, offset, bytes) => {
      const expected = next.get(stream);
      if (expected === undefined) return undefined; // not asked for
      const known = Math.max(0, expected - offset);
      if (known >= bytes.length) return undefined;
      next.set(stream, offset + bytes.length);
      return {
        offset: offset + known,
        bytes: bytes.subarray(known),
        gap: Math.max(0, offset - expected),
      };
    },
  };
}
