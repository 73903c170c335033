// What is worth nothing any more: serial numbers of certificates and boot ids of lives, as the routers tell
// each other. Kept for the next process of this router, which may be the only one that knows.
import type { Log } from '@ssi/ports';
import type { RevocationStore } from './ports.ts';

/** As the contract has it. */
const wordsMax = 1_024;

export class Revocations {
  readonly #store: RevocationStore | undefined;
  readonly #log: Log;
  #words: readonly string[];

  /** `store` absent: forgotten with this process. */
  constructor(store: RevocationStore | undefined, log: Log) {
    this.#store = store;
    this.#log = log;
    this.#words = store?.load() ?? [];
  }

  get words(): readonly string[] {
    return this.#words;
  }

  /** False: all of it was known. */
  add(more: readonly string[]): boolean {
    const next = [...new Set([...this.#words, ...more])].sort().slice(-wordsMax);
    if (next.join() === this.#words.join()) return false;
    this.#words = next;
    const saved = this.#store?.save(next);
    // It counts here all the same, and the other routers know it.
    if (saved && !saved.ok) this.#log.error('revocations not saved', { detail: saved.detail });
    return true;
  }
}
