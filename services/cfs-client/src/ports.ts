// What the client needs of others: who keeps names and attributes, and who keeps the data.
import type { CfsErrno, CfsMutation, Reply } from '@ssi/contracts';
import type { Statfs } from '@ssi/fuse';

type Without<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
/** The server says when it was. */
export type Change = Without<CfsMutation, 'at'>;
type Time = readonly [sec: number, nsec: number];

/** What stat(2) tells, and what a symbolic link says. */
export interface FileInfo {
  readonly ino: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly nlink: number;
  readonly size: number;
  readonly atime: Time;
  readonly mtime: Time;
  readonly ctime: Time;
  readonly btime: Time;
  readonly target: string;
  readonly xattrs: { readonly [name: string]: Uint8Array };
}

export interface Name {
  readonly name: string;
  readonly ino: number;
  readonly mode: number;
}

export interface Metadata {
  lookup(parent: number, name: string): Promise<Reply<FileInfo, CfsErrno>>;
  info(ino: number): Promise<Reply<FileInfo, CfsErrno>>;
  /** In the order of their making; `..` is first. */
  list(ino: number): Promise<Reply<readonly Name[], CfsErrno>>;
  /**
   * Runs a change once: `id` grows with each, and one that comes again gets its first answer. The inode that
   * it was about.
   */
  execute(id: number, change: Change): Promise<Reply<number, CfsErrno>>;
  /** What was executed before is on disk. */
  sync(): Promise<Reply<undefined, CfsErrno>>;
}

/** The bytes of files, by inode; a file is there once something was written. Errors are negative errnos. */
export interface Data {
  read(ino: number, offset: number, size: number): Uint8Array | number;
  write(ino: number, offset: number, bytes: Uint8Array): number;
  truncate(ino: number, size: number): number;
  sync(ino: number): number;
  /** Its inode is gone. */
  remove(ino: number): void;
  /** How much room there is. [statfs(2)] */
  room(): Statfs | number;
}
