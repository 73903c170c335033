// Inodes: what a file is apart from its names. Plain data; it goes into the snapshot as it stands.
// [inode(7)]
import type { CfsMutation } from '@ssi/contracts';

export type Time = readonly [sec: number, nsec: number];

export interface Inode {
  readonly ino: number;
  mode: number;
  uid: number;
  gid: number;
  readonly rdev: number;
  /** Names; of a directory 2 and its subdirectories, 0 when it is removed. */
  nlink: number;
  size: number;
  atime: Time;
  mtime: Time;
  ctime: Time;
  readonly btime: Time;
  /** Of a symbolic link. */
  readonly target: string;
  /** By name. */
  xattrs: { [name: string]: Uint8Array };
  /** Of a directory: where it is, to find a loop and `..`. 0 of others. */
  parent: number;
  /** Clients that have it open, sorted, each as often as it has. */
  openBy: readonly string[];
  /** Has had no name yet, and may get one. [open(2): O_TMPFILE] */
  unnamed?: boolean;
}

export const typeMask = 0o170000;
export const directoryType = 0o040000;
export const isDirectory = (inode: Inode): boolean => (inode.mode & typeMask) === directoryType;
/** [ext4: EXT4_LINK_MAX; enough, and a tree that is copied to one keeps its links] */
export const linkMax = 65_000;
/** 2^43 bytes: 8 TiB. */
export const sizeMax = 2 ** 43;

type Made = Pick<
  Extract<CfsMutation, { op: 'make' }>,
  'mode' | 'uid' | 'gid' | 'rdev' | 'target' | 'at'
>;

/** In a directory whose group is inherited, so are group and, by directories, the bit. [inode(7): S_ISGID] */
export function makeInode(ino: number, m: Made, directory: Inode): Inode {
  const inherits = (directory.mode & 0o2000) !== 0;
  const isDir = (m.mode & typeMask) === directoryType;
  return {
    ino,
    mode: inherits && isDir ? m.mode | 0o2000 : m.mode,
    uid: m.uid,
    gid: inherits ? directory.gid : m.gid,
    rdev: m.rdev ?? 0,
    nlink: isDir ? 2 : 1,
    size: m.target?.length ?? 0,
    ...{ atime: m.at, mtime: m.at, ctime: m.at, btime: m.at },
    target: m.target ?? '',
    xattrs: {},
    parent: isDir ? directory.ino : 0,
    openBy: [],
  };
}

export const makeRoot = (at: Time): Inode => ({
  ...{ ino: 1, mode: directoryType | 0o755, uid: 0, gid: 0, rdev: 0, nlink: 2, size: 0 },
  ...{ atime: at, mtime: at, ctime: at, btime: at, target: '', xattrs: {}, parent: 1 },
  openBy: [],
});

/** What it holds has changed. */
export function contentChanged(inode: Inode, at: Time): void {
  inode.mtime = at;
  inode.ctime = at;
}

type Change = Extract<CfsMutation, { op: 'setattr' }>;

/** A change of owner takes the set-id bits off, by files. [chown(2)] */
export function changeAttributes(inode: Inode, c: Change): void {
  if (c.size !== undefined) {
    inode.size = c.size;
    inode.mtime = c.at;
  }
  if (c.mode !== undefined) inode.mode = (inode.mode & typeMask) | (c.mode & 0o7777);
  if (c.owner !== undefined || c.group !== undefined) {
    inode.uid = c.owner ?? inode.uid;
    inode.gid = c.group ?? inode.gid;
    if (c.mode === undefined && !isDirectory(inode)) {
      inode.mode &= ~0o4000;
      if (inode.mode & 0o010) inode.mode &= ~0o2000;
    }
  }
  inode.atime = c.atime ?? inode.atime;
  inode.mtime = c.mtime ?? inode.mtime;
  inode.ctime = c.at;
}
