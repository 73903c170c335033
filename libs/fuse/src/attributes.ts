// What stat(2) tells of an inode, and an inode under a name: the two structures that most answers are
// made of. [linux/fuse.h: fuse_attr, fuse_entry_out, fuse_statx]

/** Times are whole seconds since 1970 (negative before) and the nanoseconds after them, 0 to 999,999,999. */
export interface Attributes {
  /** What programs see as st_ino; usually the node. */
  readonly ino: number;
  /** Bytes. */
  readonly size: number;
  /** Units of 512 bytes that it takes. */
  readonly blocks: number;
  readonly atimeSec: number;
  readonly atimeNsec: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly ctimeSec: number;
  readonly ctimeNsec: number;
  /** Birth, for statx(2); absent: not told. */
  readonly btimeSec?: number;
  readonly btimeNsec?: number;
  /** Type and permissions. [inode(7)] */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** Of a device, as MKNOD gave it. */
  readonly rdev: number;
  /** Bytes that reads and writes are best made of; 4096 is usual. */
  readonly blockSize: number;
  /** ms that the kernel may keep them without asking; absent: what the session says. */
  readonly ttlMs?: number;
}

/** An inode under a name. Each one that is handed out counts as one lookup until `forget` takes it back. */
export interface Entry {
  /** The file system's number for the inode, 1 to 2^53 - 1; not used for another while the kernel knows it. */
  readonly node: number;
  /** With the node unique for ever; matters where the tree is exported by NFS. Absent: 0. */
  readonly generation?: number;
  readonly attributes: Attributes;
  /** ms that the kernel may keep name -> inode; absent: what the session says. */
  readonly entryTtlMs?: number;
}

/** No such name, and the kernel may remember that for so many ms (-ENOENT: it may not). */
export interface Absent {
  readonly absentTtlMs: number;
}

/** [statfs(2)] */
export interface Statfs {
  readonly blocks: number;
  readonly blocksFree: number;
  /** Free for users other than root. */
  readonly blocksAvailable: number;
  readonly files: number;
  readonly filesFree: number;
  readonly blockSize: number;
  /** Longest name, bytes. */
  readonly nameMax: number;
}
