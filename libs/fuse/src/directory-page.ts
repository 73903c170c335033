// A part of a directory's listing: entries packed as getdents(2) hands them on, each with the attributes
// beside it where the kernel asked for these. [linux/fuse.h: fuse_dirent, fuse_direntplus]
import type { Entry } from './attributes.ts';
import { entryBytes, type Ttl, Words } from './outgoing.ts';

const direntBytes = 24;
const typeShift = 12;

export interface Dirent {
  readonly name: string;
  readonly ino: number;
  /** Its mode; only the type counts. */
  readonly mode: number;
  /** Where the listing goes on after it: what comes back as the next page's `offset`. Not 0. */
  readonly nextOffset: number;
  /** The inode, where the page is `plus`. Without it the kernel asks when somebody wants it. */
  readonly entry?: Entry;
}

export class DirectoryPage {
  readonly fh: number;
  /** 0, or the `nextOffset` after which to go on. */
  readonly offset: number;
  /** The kernel would have each entry's inode at once. */
  readonly plus: boolean;
  readonly #words: Words;
  readonly #size: number;
  #used = 0;

  constructor(at: { fh: number; offset: number; size: number }, plus: boolean, ttl: Ttl) {
    this.fh = at.fh;
    this.offset = at.offset;
    this.plus = plus;
    this.#size = at.size;
    this.#words = new Words(at.size, ttl);
  }

  /** False: the page is full and this one is not on it. An `entry` that is on it counts as one lookup. */
  add(d: Dirent): boolean {
    const head = this.plus ? entryBytes : 0;
    const bytes = head + ((direntBytes + d.name.length + 7) & ~7);
    if (this.#used + bytes > this.#size) return false;
    const w = this.#words;
    const word = this.#used / 4;
    if (this.plus) {
      if (d.entry) w.entry(word, d.entry);
      else w.words.fill(0, word, word + head / 4);
    }
    const at = word + head / 4;
    w.u64(at, d.ino);
    w.u64(at + 2, d.nextOffset);
    w.words[at + 4] = d.name.length;
    w.words[at + 5] = (d.mode >>> typeShift) & 0xf;
    const nameAt = this.#used + head + direntBytes;
    w.bytes.fill(0, nameAt, this.#used + bytes);
    w.bytes.write(d.name, nameAt, 'latin1');
    this.#used += bytes;
    return true;
  }

  get bytes(): Uint8Array {
    return this.#words.bytes.subarray(0, this.#used);
  }
}
