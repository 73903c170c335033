// What only the router touches: whether an address answers at all, apart from any channel over it, and the
// memory of what was revoked.
import type { Reply } from '@ssi/contracts';

export interface Prober {
  /** Time to open a connection to host:port, ms; undefined: not within `timeoutMs`. */
  connectMs(host: string, port: number, timeoutMs: number): Promise<number | undefined>;
}

/** Outlives the process; one router at a time has it. */
export interface RevocationStore {
  load(): readonly string[];
  /** Replaces what was kept; on disk when it returns. */
  save(words: readonly string[]): Reply<undefined, 'EIO'>;
}
