// What a file system is to this library: a function for each operation that it has. What is missing is
// answered with ENOSYS, which the kernel takes as the manual pages let it (no flush, no locks but its own,
// a copy by read and write) and does not ask again. Answers are values, or a negative errno; what is
// thrown or rejected is logged and becomes EIO. A handler that returns a promise does not keep the next
// request waiting. [linux/fuse.h; jacobsa/fuse: fuseops]
import type { Absent, Attributes, Entry, Statfs } from './attributes.ts';
import type * as body from './bodies.ts';
import type { DirectoryPage } from './directory-page.ts';
import type { Opened } from './outgoing.ts';
import type { Request } from './request.ts';

/** The value, or a negative errno. */
export type Answer<T> = T | number | Promise<T | number>;
/** 0, or a negative errno. */
export type Done = Answer<0>;
export type Created = Entry & Opened;
/** A lock that is in the way; `type` UNLOCK: none is. */
export interface LockFound {
  readonly start: number;
  readonly end: number;
  readonly type: number;
  readonly pid: number;
}

export interface Filesystem {
  lookup?(request: Request, name: string): Answer<Entry | Absent>;
  /** `count` lookups of a node are taken back; with none left its number may mean another inode. No answer. */
  forget?(node: number, count: number): void;
  /** For stat(2) and statx(2). `fh` where it is asked through an open file. */
  getattr?(request: Request, fh: number | undefined): Answer<Attributes>;
  setattr?(request: Request, change: body.SetattrBody): Answer<Attributes>;
  /** The target, a byte string. */
  readlink?(request: Request): Answer<string>;
  symlink?(request: Request, body: body.SymlinkBody): Answer<Entry>;
  mknod?(request: Request, body: body.MknodBody): Answer<Entry>;
  mkdir?(request: Request, body: body.MkdirBody): Answer<Entry>;
  unlink?(request: Request, name: string): Done;
  rmdir?(request: Request, name: string): Done;
  rename?(request: Request, body: body.RenameBody): Done;
  link?(request: Request, body: body.LinkBody): Answer<Entry>;
  create?(request: Request, body: body.CreateBody): Answer<Created>;
  /** An unnamed file in this directory. [open(2): O_TMPFILE] */
  tmpfile?(request: Request, body: body.CreateBody): Answer<Created>;

  open?(request: Request, body: body.OpenBody): Answer<Opened>;
  /** Up to `size` bytes; fewer mean that the file ends there. */
  read?(request: Request, body: body.ReadBody): Answer<Uint8Array | readonly Uint8Array[]>;
  /** How many bytes were written. */
  write?(request: Request, body: body.WriteBody): Answer<number>;
  /** At each close(2) of a descriptor, with an errno that the program gets; an open file can have several. */
  flush?(request: Request, body: body.FlushBody): Done;
  /** The open file is gone. Nobody waits for the answer. */
  release?(request: Request, body: body.ReleaseBody): Done;
  fsync?(request: Request, body: body.FsyncBody): Done;
  fallocate?(request: Request, body: body.FallocateBody): Done;
  /** Where data or a hole begins; -ENXIO past the end. */
  seek?(request: Request, body: body.SeekBody): Answer<number>;
  /** How many bytes were copied. */
  copy?(request: Request, body: body.CopyBody): Answer<number>;
  /** POLL* that hold now. */
  poll?(request: Request, body: body.PollBody): Answer<number>;

  opendir?(request: Request, body: body.OpenBody): Answer<Opened>;
  /** Puts entries on the page, from the page's offset on, until it is full. */
  readdir?(request: Request, page: DirectoryPage): Done;
  releasedir?(request: Request, body: body.ReleaseBody): Done;
  fsyncdir?(request: Request, body: body.FsyncBody): Done;

  setxattr?(request: Request, body: body.SetxattrBody): Done;
  getxattr?(request: Request, name: string): Answer<Uint8Array>;
  /** Names. */
  listxattr?(request: Request): Answer<readonly string[]>;
  removexattr?(request: Request, name: string): Done;

  getlk?(request: Request, lock: body.LockBody): Answer<LockFound>;
  /** Sets or takes off a lock. `wait`: answer when it is there, or -EINTR when the request's signal aborts. */
  setlk?(request: Request, lock: body.LockBody, wait: boolean): Done;

  /** [access(2)]; never asked of a tree that is mounted with `default_permissions`. */
  access?(request: Request, mask: number): Done;
  statfs?(request: Request): Answer<Statfs>;
  syncfs?(request: Request): Done;
}
