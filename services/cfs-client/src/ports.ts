// What the client needs of others: the server that keeps names, attributes and data; and a place for the mount.
import type {
  CfsErrno,
  CfsLock,
  CfsMutation,
  cfs,
  Reply,
  ReplyOf,
  RequestOf,
} from '@ssi/contracts';
import type { Filesystem, Statfs } from '@ssi/fuse';

type Without<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
/** The server says when it was. */
export type Change = Without<CfsMutation, 'at'>;
export type FileInfo = ReplyOf<typeof cfs.ops.info>;
export type Name = ReplyOf<typeof cfs.ops.list>['names'][number];
export type LockHolder = ReplyOf<typeof cfs.ops.lockHolder>;

export interface Write {
  readonly ino: number;
  readonly offset: number;
  /** Behind the end, wherever that is. */
  readonly append: boolean;
  readonly killSuidGid: boolean;
  readonly uid: number;
  readonly gid: number;
  readonly bytes: Uint8Array;
}

export type Allocate = Omit<RequestOf<typeof cfs.ops.allocate>, 'request'>;

type Told<T> = Promise<Reply<T, CfsErrno>>;

/** Each waits until a server has answered, whichever that is. */
export interface Server {
  lookup(parent: number, name: string): Told<FileInfo>;
  info(ino: number): Told<FileInfo>;
  /** In the order of their making; `..` is first. */
  list(ino: number): Told<readonly Name[]>;
  /** Runs a change once. The inode that it was about, and after some what that is then. */
  execute(change: Change): Told<ReplyOf<typeof cfs.ops.execute>>;
  /** Fewer bytes: the file ends there. */
  read(ino: number, offset: number, size: number): Told<Uint8Array>;
  /** How many bytes were written; once, as `execute`. */
  write(write: Write): Told<number>;
  /** Once, as `execute`. */
  allocate(range: Allocate): Told<unknown>;
  /** Where data or a hole begins. */
  seek(ino: number, offset: number, what: 'data' | 'hole'): Told<number>;
  /** What was executed before is on disk, of `ino` also its data. */
  sync(ino?: number): Told<unknown>;
  /** Type UNLOCK: nobody is in the way. */
  lockHolder(lock: CfsLock): Told<LockHolder>;
  room(): Told<Statfs>;
}

export interface MountPoint {
  /** Throws where it cannot be mounted, and says why. `gone`: somebody else has ended the mount. */
  mount(fs: Filesystem): Promise<{ readonly gone: Promise<string>; unmount(): Promise<void> }>;
}
