// The body of each request, taken out of its message. Word numbers count from the message's start; a body
// begins at word 10, byte 40. [linux/fuse.h: the *_in structures]
import { setattrFlag } from './flags.ts';
import type { Incoming } from './incoming.ts';

const lockOwnerGiven = 1 << 1;
const killSuidGid = 1 << 2;

export interface SetattrBody {
  /** Through this open file (ftruncate and the like). */
  readonly fh?: number;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  /** 'now': the server's clock. */
  readonly atime?: Time | 'now';
  readonly mtime?: Time | 'now';
  readonly ctime?: Time;
  /** Take the set-user-id and set-group-id bits off too. [HANDLE_KILLPRIV_V2] */
  readonly killSuidGid: boolean;
}
export interface Time {
  readonly sec: number;
  readonly nsec: number;
}

const time = (m: Incoming, secAt: number, nsecAt: number): Time => ({
  sec: m.i64(secAt),
  nsec: m.u32(nsecAt),
});

export function setattrBody(m: Incoming): SetattrBody {
  const valid = m.u32(10);
  const f = setattrFlag;
  const body: { -readonly [K in keyof SetattrBody]: SetattrBody[K] } = {
    killSuidGid: (valid & f.KILL_SUIDGID) !== 0,
  };
  if (valid & f.FH) body.fh = m.u64(12);
  if (valid & f.SIZE) body.size = m.u64(14);
  if (valid & f.ATIME) body.atime = valid & f.ATIME_NOW ? 'now' : time(m, 18, 24);
  if (valid & f.MTIME) body.mtime = valid & f.MTIME_NOW ? 'now' : time(m, 20, 25);
  if (valid & f.CTIME) body.ctime = time(m, 22, 26);
  if (valid & f.MODE) body.mode = m.u32(27);
  if (valid & f.UID) body.uid = m.u32(29);
  if (valid & f.GID) body.gid = m.u32(30);
  return body;
}

export interface MknodBody {
  readonly name: string;
  /** With the type; the umask is taken off already. */
  readonly mode: number;
  readonly rdev: number;
}
export const mknodBody = (m: Incoming): MknodBody => ({
  name: m.name(56),
  mode: m.u32(10),
  rdev: m.u32(11),
});

export interface MkdirBody {
  readonly name: string;
  readonly mode: number;
}
export const mkdirBody = (m: Incoming): MkdirBody => ({ name: m.name(48), mode: m.u32(10) });

export interface SymlinkBody {
  readonly name: string;
  readonly target: string;
}
export function symlinkBody(m: Incoming): SymlinkBody {
  const name = m.name(40);
  return { name, target: m.name(41 + name.length) };
}

export interface RenameBody {
  readonly name: string;
  /** The directory that it goes to. */
  readonly newParent: number;
  readonly newName: string;
  /** `renameFlag`s. */
  readonly flags: number;
}
export function renameBody(m: Incoming, withFlags: boolean): RenameBody {
  const at = withFlags ? 56 : 48;
  const name = m.name(at);
  return {
    name,
    newParent: m.u64(10),
    newName: m.name(at + name.length + 1),
    flags: withFlags ? m.u32(12) : 0,
  };
}

export interface LinkBody {
  /** The inode that gets one more name, in the request's directory. */
  readonly target: number;
  readonly name: string;
}
export const linkBody = (m: Incoming): LinkBody => ({ target: m.u64(10), name: m.name(48) });

export interface OpenBody {
  /** O_* of open(2), without O_CREAT, O_EXCL and O_NOCTTY. */
  readonly flags: number;
  /** With O_TRUNC: take the set-id bits off too. */
  readonly killSuidGid: boolean;
}
export const openBody = (m: Incoming): OpenBody => ({
  flags: m.u32(10),
  killSuidGid: (m.u32(11) & 1) !== 0,
});

export interface CreateBody extends OpenBody {
  /** '' of an unnamed file (O_TMPFILE). */
  readonly name: string;
  readonly mode: number;
}
export const createBody = (m: Incoming): CreateBody => ({
  name: m.name(56),
  mode: m.u32(11),
  flags: m.u32(10),
  killSuidGid: (m.u32(13) & 1) !== 0,
});

export interface ReadBody {
  readonly fh: number;
  readonly offset: number;
  readonly size: number;
  /** O_* as they are now, fcntl(2) counted in. */
  readonly flags: number;
}
export const readBody = (m: Incoming): ReadBody => ({
  fh: m.u64(10),
  offset: m.u64(12),
  size: m.u32(14),
  flags: m.u32(18),
});

export interface WriteBody extends ReadBody {
  /** Valid until the handler returns or, where it returns a promise, until that is settled. */
  readonly data: Uint8Array;
  /** Written back from the page cache: the caller is not the one who wrote. */
  readonly fromCache: boolean;
  readonly killSuidGid: boolean;
  readonly lockOwner?: bigint;
}
export function writeBody(m: Incoming): WriteBody {
  const size = m.u32(14);
  const flags = m.u32(15);
  const body = {
    ...readBody(m),
    data: m.bytes.subarray(80, 80 + size),
    fromCache: (flags & 1) !== 0,
    killSuidGid: (flags & killSuidGid) !== 0,
  };
  return flags & lockOwnerGiven ? { ...body, lockOwner: m.exact(16) } : body;
}

export interface ReleaseBody {
  readonly fh: number;
  readonly flags: number;
  /** The flock(2) lock that this owner holds through the file goes with it. */
  readonly unlockFlock: boolean;
  readonly lockOwner: bigint;
}
export const releaseBody = (m: Incoming): ReleaseBody => ({
  fh: m.u64(10),
  flags: m.u32(12),
  unlockFlock: (m.u32(13) & 2) !== 0,
  lockOwner: m.exact(14),
});

export interface FlushBody {
  readonly fh: number;
  /** Who closes: his POSIX locks on the file end. */
  readonly lockOwner: bigint;
}
export const flushBody = (m: Incoming): FlushBody => ({ fh: m.u64(10), lockOwner: m.exact(14) });

export interface FsyncBody {
  readonly fh: number;
  /** The data is enough. [fdatasync(2)] */
  readonly dataOnly: boolean;
}
export const fsyncBody = (m: Incoming): FsyncBody => ({
  fh: m.u64(10),
  dataOnly: (m.u32(12) & 1) !== 0,
});

export interface SetxattrBody {
  readonly name: string;
  /** Valid as the data of a write is. */
  readonly value: Uint8Array;
  /** `xattrFlag`s. */
  readonly flags: number;
}
export function setxattrBody(m: Incoming, extended: boolean): SetxattrBody {
  const at = extended ? 56 : 48;
  const name = m.name(at);
  const from = at + name.length + 1;
  return { name, value: m.bytes.subarray(from, from + m.u32(10)), flags: m.u32(11) };
}

export interface LockBody {
  readonly fh: number;
  readonly owner: bigint;
  /** First and last byte; a lock to the end of the file, however long it gets: Infinity. */
  readonly start: number;
  readonly end: number;
  /** `lockType`. */
  readonly type: number;
  readonly pid: number;
  /** flock(2): the whole file, owned by the open file. */
  readonly flock: boolean;
}
export function lockBody(m: Incoming): LockBody {
  const end = m.u64(16);
  return {
    fh: m.u64(10),
    owner: m.exact(12),
    start: m.u64(14),
    end: end > Number.MAX_SAFE_INTEGER ? Number.POSITIVE_INFINITY : end,
    type: m.u32(18),
    pid: m.u32(19),
    flock: (m.u32(20) & 1) !== 0,
  };
}

export interface PollBody {
  readonly fh: number;
  /** What `Session.notifyPoll` is to be called with when the state changes. */
  readonly handle: number;
  /** Somebody waits: notify. */
  readonly notify: boolean;
  /** POLL* of poll(2) that are of interest. */
  readonly events: number;
}
export const pollBody = (m: Incoming): PollBody => ({
  fh: m.u64(10),
  handle: m.u64(12),
  notify: (m.u32(14) & 1) !== 0,
  events: m.u32(15),
});

export interface FallocateBody {
  readonly fh: number;
  readonly offset: number;
  readonly length: number;
  /** `fallocateFlag`s. */
  readonly mode: number;
}
export const fallocateBody = (m: Incoming): FallocateBody => ({
  fh: m.u64(10),
  offset: m.u64(12),
  length: m.u64(14),
  mode: m.u32(16),
});

export interface SeekBody {
  readonly fh: number;
  readonly offset: number;
  /** `seekWhence`: other kinds the kernel does itself. */
  readonly whence: number;
}
export const seekBody = (m: Incoming): SeekBody => ({
  fh: m.u64(10),
  offset: m.u64(12),
  whence: m.u32(14),
});

export interface CopyBody {
  readonly fh: number;
  readonly offset: number;
  readonly target: number;
  readonly targetFh: number;
  readonly targetOffset: number;
  readonly length: number;
}
export const copyBody = (m: Incoming): CopyBody => ({
  fh: m.u64(10),
  offset: m.u64(12),
  target: m.u64(14),
  targetFh: m.u64(16),
  targetOffset: m.u64(18),
  length: m.u64(20),
});
