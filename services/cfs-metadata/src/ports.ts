// What only this service touches: where its log and its snapshot lie.
import type { Reply } from '@ssi/contracts';

export type JournalErrno = 'ENOSPC' | 'EIO';

/** One log and one snapshot, of one server at a time. */
export interface Journal {
  /** What is there; empty of a new one. */
  read(): { readonly snapshot: Uint8Array; readonly log: Uint8Array };
  /**
   * Behind what is there, in one piece. When it returns, another process sees it (a crash of this one loses
   * nothing); `sync` also outlasts a crash of the machine. After a failure a part may be there: `truncate`.
   */
  append(bytes: Uint8Array): Reply<undefined, JournalErrno>;
  sync(): Reply<undefined, JournalErrno>;
  /** The log's first bytes stay. */
  truncate(length: number): Reply<undefined, JournalErrno>;
  /** Replaces the snapshot, on disk when it returns, and then empties the log; a crash between leaves both. */
  snapshot(bytes: Uint8Array): Reply<undefined, JournalErrno>;
}
