// What only this service touches: where its log, its snapshot and the bytes of files lie.
import type { cfs, Reply, ReplyOf } from '@ssi/contracts';

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

/** The bytes of files, by inode; a file is there once something was written. Errors are negative errnos. */
export interface Data {
  read(ino: number, offset: number, size: number): Uint8Array | number;
  write(ino: number, offset: number, bytes: Uint8Array): number;
  truncate(ino: number, size: number): number;
  /** Takes room for a range; the file may end before it. [fallocate(2): FALLOC_FL_KEEP_SIZE] */
  allocate(ino: number, offset: number, length: number): number;
  /** Zeros, without room of their own. */
  punch(ino: number, offset: number, length: number): number;
  /** Where data or a hole begins; -ENXIO: there is no more data, or the file ends before. [lseek(2)] */
  seek(ino: number, offset: number, what: 'data' | 'hole'): number;
  sync(ino: number): number;
  /** Its inode is gone. */
  remove(ino: number): void;
  /** Inodes that have a file. */
  list(): readonly number[];
  /** How much room there is. [statfs(2)] */
  room(): Room | number;
  close(): void;
}
export type Room = ReplyOf<typeof cfs.ops.room>;

/** Where a file system lies: a folder that its server and who may take over reach. */
export interface Place {
  /**
   * Takes it, or EAGAIN: another server has it and has not ended yet. No two have it at a time, whatever they
   * believe of the membership.
   */
  take(): Reply<Taken, 'EAGAIN' | 'EIO'>;
}
export interface Taken {
  readonly journal: Journal;
  readonly data: Data;
  /** The next may take it. */
  leave(): void;
}
