// One message of the kernel in the buffer that it was read into: words, 64-bit numbers and names by their
// places. Names are byte strings: one character a byte (latin1), so that every name that the kernel
// allows survives; `nameText` and `textName` convert. [linux/fuse.h: fuse_in_header]

/** Words of the header; bodies begin there. */
export const headerWords = 10;
const two32 = 2 ** 32;
/** Set in `unique` of a message that the kernel sends once more. [fuse.h: FUSE_UNIQUE_RESEND] */
const resendBit = 0x8000_0000;

export class Incoming {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  /** Bytes of the message that lies in it now. */
  length = 0;

  constructor(size: number) {
    const memory = new ArrayBuffer(size);
    this.bytes = Buffer.from(memory);
    this.words = new Uint32Array(memory);
  }

  u32(word: number): number {
    return this.words[word] as number;
  }

  /** Exact up to 2^53; the kernel's greater ones (a lock's end, an absurd offset) come near enough. */
  u64(word: number): number {
    return (this.words[word + 1] as number) * two32 + (this.words[word] as number);
  }

  /** Seconds before 1970 too. */
  i64(word: number): number {
    return ((this.words[word + 1] as number) | 0) * two32 + (this.words[word] as number);
  }

  /** Every bit: owners of locks are random numbers. */
  exact(word: number): bigint {
    return (BigInt(this.u32(word + 1)) << 32n) | BigInt(this.u32(word));
  }

  /** The string that begins at this byte, without its NUL. */
  name(at: number): string {
    const end = this.bytes.indexOf(0, at);
    return this.bytes.toString('latin1', at, end < 0 || end > this.length ? this.length : end);
  }

  get opcode(): number {
    return this.u32(1);
  }
  /** Without the bit that says that it is a resend. */
  get unique(): number {
    return (this.u32(3) & ~resendBit) * two32 + this.u32(2);
  }
  get resent(): boolean {
    return (this.u32(3) & resendBit) !== 0;
  }
  get node(): number {
    return this.u64(4);
  }
}

/** UTF-8 of a name, for people. */
export const nameText = (name: string): string => Buffer.from(name, 'latin1').toString('utf8');
/** The name that a text has as a file. */
export const textName = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');
