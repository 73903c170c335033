// Key-value store with compare-and-set, as JetStream KV gives it. Promises: a write that answered ok
// was accepted by the store's quorum (it may still be forgotten by a store that lost its disk: whoever
// uses this can rebuild what is in it). Nothing is promised of `get` but that it was true once.
import type { Reply } from '@ssi/contracts';

export interface KvEntry {
  readonly value: Uint8Array;
  /** Grows with every write in the bucket; compare-and-set is against it. */
  readonly revision: number;
}

export interface Kv {
  /** undefined: no such key. ETIMEDOUT, EHOSTUNREACH: the store did not answer. */
  get(key: string): Promise<Reply<KvEntry | undefined, 'ETIMEDOUT' | 'EHOSTUNREACH'>>;
  /**
   * Writes if the key's revision is still `expected` (0: does not exist). Returns the new revision.
   * EAGAIN: somebody else wrote, nothing was changed. ETIMEDOUT: it may have been written.
   */
  compareAndSet(
    key: string,
    value: Uint8Array,
    expected: number,
  ): Promise<Reply<number, 'EAGAIN' | 'ETIMEDOUT' | 'EHOSTUNREACH'>>;
  /** Calls `onEntry` for the present value and each later one, in order, until stopped; survives reconnects. */
  watch(key: string, onEntry: (entry: KvEntry) => void): { stop(): void };
  close(): Promise<void>;
}
