// The protocol's flag words. [linux/fuse.h]

/** First word of INIT. */
export const initFlag = {
  ASYNC_READ: 1 << 0,
  POSIX_LOCKS: 1 << 1,
  ATOMIC_O_TRUNC: 1 << 3,
  EXPORT_SUPPORT: 1 << 4,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  FLOCK_LOCKS: 1 << 10,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  WRITEBACK_CACHE: 1 << 16,
  PARALLEL_DIROPS: 1 << 18,
  POSIX_ACL: 1 << 20,
  ABORT_ERROR: 1 << 21,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  EXPLICIT_INVAL_DATA: 1 << 25,
  HANDLE_KILLPRIV_V2: 1 << 28,
  SETXATTR_EXT: 1 << 29,
  INIT_EXT: 1 << 30,
} as const;

/** Second word of INIT: bits 32 and up. */
export const initFlag2 = {
  HAS_EXPIRE_ONLY: 1 << 3,
  DIRECT_IO_ALLOW_MMAP: 1 << 4,
  PASSTHROUGH: 1 << 5,
  HAS_RESEND: 1 << 7,
} as const;

/** What an open file is, in the answer to open, create and opendir. */
export const openFlag = {
  /** Past the page cache. */
  DIRECT_IO: 1 << 0,
  /** Cached pages of before stay: whoever says so invalidates them himself when they change. */
  KEEP_CACHE: 1 << 1,
  NONSEEKABLE: 1 << 2,
  /** The kernel may keep the listing of this directory. */
  CACHE_DIR: 1 << 3,
  STREAM: 1 << 4,
  /** No FLUSH at close(2). */
  NOFLUSH: 1 << 5,
  PARALLEL_DIRECT_WRITES: 1 << 6,
  /** Set by the session where the answer names a backing file. */
  PASSTHROUGH: 1 << 7,
} as const;

/** Which fields of SETATTR count. */
export const setattrFlag = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;

/** [rename(2)] */
export const renameFlag = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;
/** [fcntl(2): l_type] */
export const lockType = { READ: 0, WRITE: 1, UNLOCK: 2 } as const;
/** [setxattr(2)] */
export const xattrFlag = { CREATE: 1, REPLACE: 2 } as const;
/** [fallocate(2)] */
export const fallocateFlag = { KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 16 } as const;
/** [lseek(2)] */
export const seekWhence = { DATA: 3, HOLE: 4 } as const;
/** [inode(7)] */
export const fileType = {
  MASK: 0o170000,
  FIFO: 0o010000,
  CHARACTER: 0o020000,
  DIRECTORY: 0o040000,
  BLOCK: 0o060000,
  REGULAR: 0o100000,
  SYMLINK: 0o120000,
  SOCKET: 0o140000,
} as const;
