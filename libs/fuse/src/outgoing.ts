// One answer on its way to the kernel: header and body in one buffer, long data beside it, sent by one
// write. [linux/fuse.h: fuse_out_header and the *_out structures]
import type { Absent, Attributes, Entry, Statfs } from './attributes.ts';
import { openFlag } from './flags.ts';

export const outHeaderBytes = 16;
const two32 = 2 ** 32;
/** Up to this many bytes are copied behind the header: cheaper than a second vector. */
const copiedMax = 16_384;
/** bytes of an entry, without the name that a listing adds. [fuse_entry_out] */
export const entryBytes = 128;

export interface Ttl {
  readonly entryMs: number;
  readonly attributesMs: number;
}

/** Writes 32- and 64-bit words into a buffer: the answer's own, or a page of a listing. */
export class Words {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  readonly #ttl: Ttl;

  constructor(size: number, ttl: Ttl) {
    const memory = new ArrayBuffer((size + 7) & ~7);
    this.bytes = Buffer.from(memory);
    this.words = new Uint32Array(memory);
    this.#ttl = ttl;
  }

  u64(word: number, value: number): void {
    const high = Math.floor(value / two32);
    this.words[word] = value - high * two32;
    this.words[word + 1] = high;
  }

  /** fuse_attr: 22 words. */
  attributes(at: number, a: Attributes): void {
    const w = this.words;
    this.u64(at, a.ino);
    this.u64(at + 2, a.size);
    this.u64(at + 4, a.blocks);
    this.u64(at + 6, a.atimeSec);
    this.u64(at + 8, a.mtimeSec);
    this.u64(at + 10, a.ctimeSec);
    w[at + 12] = a.atimeNsec;
    w[at + 13] = a.mtimeNsec;
    w[at + 14] = a.ctimeNsec;
    w[at + 15] = a.mode;
    w[at + 16] = a.nlink;
    w[at + 17] = a.uid;
    w[at + 18] = a.gid;
    w[at + 19] = a.rdev;
    w[at + 20] = a.blockSize;
    w[at + 21] = 0;
  }

  /** fuse_entry_out: 32 words. */
  entry(at: number, e: Entry): void {
    this.u64(at, e.node);
    this.u64(at + 2, e.generation ?? 0);
    this.#duration(at + 4, at + 8, e.entryTtlMs ?? this.#ttl.entryMs);
    this.#duration(at + 6, at + 9, e.attributes.ttlMs ?? this.#ttl.attributesMs);
    this.attributes(at + 10, e.attributes);
  }

  absent(at: number, a: Absent): void {
    this.words.fill(0, at, at + 32);
    this.#duration(at + 4, at + 8, a.absentTtlMs);
  }

  /** fuse_attr_out: 26 words. */
  attributesWithTtl(at: number, a: Attributes): void {
    this.#duration(at, at + 2, a.ttlMs ?? this.#ttl.attributesMs);
    this.words[at + 3] = 0;
    this.attributes(at + 4, a);
  }

  /** fuse_statx_out: 72 words. */
  statx(at: number, a: Attributes): void {
    const w = this.words;
    w.fill(0, at, at + 72);
    this.#duration(at, at + 2, a.ttlMs ?? this.#ttl.attributesMs);
    const [basicStats, birth] = [0x7ff, 0x800];
    w[at + 8] = a.btimeSec === undefined ? basicStats : basicStats | birth;
    w[at + 9] = a.blockSize;
    w[at + 12] = a.nlink;
    w[at + 13] = a.uid;
    w[at + 14] = a.gid;
    w[at + 15] = a.mode;
    this.u64(at + 16, a.ino);
    this.u64(at + 18, a.size);
    this.u64(at + 20, a.blocks);
    const times = [
      [a.atimeSec, a.atimeNsec],
      [a.btimeSec ?? 0, a.btimeNsec ?? 0],
      [a.ctimeSec, a.ctimeNsec],
      [a.mtimeSec, a.mtimeNsec],
    ] as const;
    times.forEach(([sec, nsec], i) => {
      this.u64(at + 24 + 4 * i, sec);
      w[at + 26 + 4 * i] = nsec;
    });
    // As the kernel packs a device number: 12 bits of major between 20 of minor. [kdev_t.h: new_encode_dev]
    w[at + 40] = (a.rdev >>> 8) & 0xfff;
    w[at + 41] = (a.rdev & 0xff) | ((a.rdev >>> 12) & 0xfff00);
  }

  /** Whole seconds in one place, the rest in another; Infinity: for ever. */
  #duration(secondsAt: number, nanosecondsAt: number, ms: number): void {
    const seconds = Math.floor(Math.min(ms, 2 ** 52) / 1000);
    this.u64(secondsAt, seconds);
    this.words[nanosecondsAt] = ms < 2 ** 52 ? Math.floor((ms - seconds * 1000) * 1e6) : 0;
  }
}

export interface Opened {
  /** The file system's number for this open file, which comes with all that is done to it. Absent: 0. */
  readonly fh?: number;
  /** `openFlag`s. */
  readonly flags?: number;
  /** A backing file (`Session.openBacking`) that the kernel is to read and write without asking. */
  readonly backing?: number;
}

/** First word of an answer's body. */
const body = outHeaderBytes / 4;

/** An answer's body and how long it is; its header is put before it when it is sent. */
export class Outgoing extends Words {
  /** Bytes of the body in `bytes`. */
  length = 0;
  /** What is sent behind it. */
  parts: readonly Uint8Array[] = [];

  constructor(ttl: Ttl) {
    super(outHeaderBytes + copiedMax, ttl);
  }

  clear(): void {
    this.length = 0;
    this.parts = [];
  }

  putEntry(e: Entry | Absent): void {
    if ('node' in e) this.entry(body, e);
    else this.absent(body, e);
    this.length = entryBytes;
  }

  putOpened(o: Opened, at = 0): void {
    const word = body + at / 4;
    const backing = o.backing ?? 0;
    this.u64(word, o.fh ?? 0);
    this.words[word + 2] = (o.flags ?? 0) | (backing > 0 ? openFlag.PASSTHROUGH : 0);
    this.words[word + 3] = backing;
    this.length = at + 16;
  }

  putAttributes(a: Attributes): void {
    this.attributesWithTtl(body, a);
    this.length = 104;
  }

  putStatx(a: Attributes): void {
    this.statx(body, a);
    this.length = 288;
  }

  putStatfs(s: Statfs): void {
    this.words.fill(0, body, body + 20);
    [s.blocks, s.blocksFree, s.blocksAvailable, s.files, s.filesFree].forEach((n, i) => {
      this.u64(body + 2 * i, n);
    });
    this.words[body + 10] = s.blockSize;
    this.words[body + 11] = s.nameMax;
    this.words[body + 12] = s.blockSize;
    this.length = 80;
  }

  /** Numbers as 32-bit words. */
  putWords(...values: readonly number[]): void {
    values.forEach((value, i) => {
      this.words[body + i] = value;
    });
    this.length = 4 * values.length;
  }

  putU64(value: number): void {
    this.u64(body, value);
    this.length = 8;
  }

  putData(data: Uint8Array | readonly Uint8Array[]): void {
    if (data instanceof Uint8Array && data.length <= copiedMax) {
      this.bytes.set(data, outHeaderBytes);
      this.length = data.length;
    } else this.parts = data instanceof Uint8Array ? [data] : data;
  }
}
