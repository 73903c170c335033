// The log of one numbered byte stream: a sparse file on tmpfs in which a byte's offset is its position.
// An open description that the guard shares carries the one position that matters: where the pump writes
// next (output) or what was handed to the program (input).
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { punchHole, seek } from '@ssi/linux';

/** The log keeps this much; holes are punched behind it, a megabyte at a time. [design 7] */
export const logKeptBytes = 64 * 2 ** 20;
const holeBytes = 2 ** 20;
/** What may lie in a FIFO, handed over and not read. [pipe(7): capacity] */
const fifoBytes = 2 ** 20;

export class StreamLog {
  /** Position of the guard's description: end (output) or fed offset (input). */
  readonly shared: number;
  readonly #file: number;
  readonly #kind: 'input' | 'output';
  /** Where the log began on this node. */
  readonly #base: number;
  #punched = 0;

  constructor(path: string, shared: number, kind: 'input' | 'output', base: number) {
    this.#file = openSync(path, 'r+');
    this.shared = shared;
    this.#kind = kind;
    this.#base = base;
  }

  /** A log that begins at `base`: the positions are put there, the file ends there. */
  begin(): void {
    ftruncateSync(this.#file, this.#base);
    seek(this.shared, this.#base, 'set');
  }

  get fed(): number {
    return seek(this.shared, 0, 'current');
  }

  get end(): number {
    return this.#kind === 'input' ? fstatSync(this.#file).size : this.fed;
  }

  get start(): number {
    const kept = this.fed - (this.#kind === 'input' ? fifoBytes : logKeptBytes);
    return Math.max(this.#base, Math.floor(kept / holeBytes) * holeBytes);
  }

  /** Frees what is behind the window. */
  trim(): void {
    const start = this.start;
    if (start - this.#punched < holeBytes) return;
    punchHole(this.#file, 0, Math.floor(start / holeBytes) * holeBytes);
    this.#punched = start;
  }

  read(offset: number, maxBytes: number): { offset: number; data: Uint8Array } {
    const from = Math.max(offset, this.start);
    const length = Math.max(0, Math.min(maxBytes, this.end - from));
    const data = Buffer.allocUnsafe(length);
    return {
      offset: from,
      data: data.subarray(0, length && readSync(this.#file, data, 0, length, from)),
    };
  }

  write(offset: number, data: Uint8Array): void {
    for (let done = 0; done < data.length; )
      done += writeSync(this.#file, data, done, data.length - done, offset + done);
  }

  /** Input: what lies behind `position` was not handed over after all. */
  rewind(position: number): void {
    seek(this.shared, position, 'set');
  }

  /** Final position after a move; bytes nobody filled read as zeros. */
  settle(position: number): void {
    if (fstatSync(this.#file).size < position) ftruncateSync(this.#file, position);
    seek(this.shared, position, 'set');
  }

  /** Closes what is ours; the guard's description stays. */
  close(): void {
    closeSync(this.#file);
  }
}
