// A journal in memory, with a disk that can be full: for tests.
import { fail, ok } from '@ssi/contracts';
import type { Journal } from '../ports.ts';

export interface MemoryJournal extends Journal {
  snapshotBytes: Uint8Array;
  readonly logBytes: Uint8Array;
  /** bytes that the log may have; what is more is written in part and refused. */
  logMax: number;
}

export function memoryJournal(
  snapshot: Uint8Array = new Uint8Array(0),
  log: Uint8Array = new Uint8Array(0),
): MemoryJournal {
  let parts = [log];
  let length = log.length;
  const whole = (): Uint8Array => {
    if (parts.length > 1) parts = [Buffer.concat(parts)];
    return parts[0] ?? new Uint8Array(0);
  };
  const replace = (bytes: Uint8Array): void => {
    parts = [bytes];
    length = bytes.length;
  };
  return {
    snapshotBytes: snapshot,
    logMax: Number.POSITIVE_INFINITY,
    get logBytes() {
      return whole();
    },
    read() {
      return { snapshot: this.snapshotBytes, log: whole() };
    },
    append(bytes) {
      const room = Math.max(0, this.logMax - length);
      parts.push(Uint8Array.from(bytes.subarray(0, room)));
      length += Math.min(room, bytes.length);
      return bytes.length > room ? fail('ENOSPC', 'the disk is full') : ok();
    },
    sync: () => ok(),
    truncate(to) {
      replace(whole().slice(0, to));
      return ok();
    },
    snapshot(bytes) {
      this.snapshotBytes = Uint8Array.from(bytes);
      replace(new Uint8Array(0));
      return ok();
    },
  };
}
