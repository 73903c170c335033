// The first exchange of a connection: what the kernel can, what the file system wants, what both keep to.
// [linux/fuse.h: fuse_init_in, fuse_init_out]
import { initFlag as f, initFlag2 as f2 } from './flags.ts';
import type { Incoming } from './incoming.ts';
import type { Outgoing } from './outgoing.ts';

/** What a file system wants of the kernel. Each is on only where the kernel has it: see `Negotiated`. */
export interface Features {
  /**
   * Small writes gather in the page cache and come later. Not for a file that others change too: the
   * kernel then believes its own size and times. Excludes passthrough. Default: no.
   */
  readonly writeback?: boolean;
  /** Opened files may name a backing file (`Session.openBacking`); needs CAP_SYS_ADMIN. Default: no. */
  readonly passthrough?: boolean;
  /** Listings bring each entry's inode along: where it seems wanted, always, or never. Default: auto. */
  readonly readdirplus?: 'auto' | 'always' | 'never';
  /** Lookups and listings of one directory may come at a time. Default: yes. */
  readonly parallelDirectories?: boolean;
  /** The kernel checks POSIX ACLs; `setxattr` then keeps mode and ACL alike, and takes off the umask. Default: no. */
  readonly posixAcl?: boolean;
  /** Cached data of a file goes when its size or mtime turn out changed (`auto`), or only when the server says so. */
  readonly cacheInvalidation?: 'auto' | 'explicit' | 'atOpen';
  /** MAP_SHARED of files that are open past the page cache. Default: no. */
  readonly directMmap?: boolean;
  /** Longest write and read, bytes, 4,096 to 1,048,576. Default: 1,048,576. */
  readonly maxWrite?: number;
  /** bytes. Default: what the kernel offers. */
  readonly maxReadahead?: number;
  /** Requests for nobody who waits (readahead, writeback) at a time, 1 to 65,535. Default: 128. */
  readonly maxBackground?: number;
}

/** What holds for a connection as long as it lives: a successor on the same descriptor has to be told. JSON. */
export interface Negotiated {
  /** The kernel's protocol is 7.minor. */
  readonly minor: number;
  readonly flags: number;
  readonly flags2: number;
  readonly maxWrite: number;
}

/** The oldest that brings all structures in the length that they have here. [fuse.h: 7.33, Linux 5.13] */
const minorMin = 33;
const minorOurs = 45;
const pageBytes = 4096;
export const maxWriteMax = 2 ** 20;
/** Times are kept to the nanosecond. */
const timeGranularityNs = 1;
/** A backing file may be of a plain file system, not of one stacked on another. */
const stackDepthMax = 1;

/** Throws where options contradict each other: a programmer's error. */
export function checkFeatures(want: Features): void {
  if (want.writeback && want.passthrough)
    throw new Error('writeback and passthrough exclude each other');
  const maxWrite = want.maxWrite ?? maxWriteMax;
  if (maxWrite < pageBytes || maxWrite > maxWriteMax)
    throw new Error(`maxWrite is ${pageBytes} to ${maxWriteMax}, not ${maxWrite}`);
}

function wantedFlags(want: Features, locks: boolean): { flags: number; flags2: number } {
  let flags = f.ASYNC_READ | f.ATOMIC_O_TRUNC | f.BIG_WRITES | f.ASYNC_DIO | f.MAX_PAGES;
  flags |= f.CACHE_SYMLINKS | f.ABORT_ERROR | f.HANDLE_KILLPRIV_V2 | f.SETXATTR_EXT | f.INIT_EXT;
  if (locks) flags |= f.POSIX_LOCKS | f.FLOCK_LOCKS;
  if (want.parallelDirectories ?? true) flags |= f.PARALLEL_DIROPS;
  if (want.readdirplus !== 'never') flags |= f.DO_READDIRPLUS;
  if ((want.readdirplus ?? 'auto') === 'auto') flags |= f.READDIRPLUS_AUTO;
  if (want.writeback) flags |= f.WRITEBACK_CACHE;
  if (want.posixAcl) flags |= f.POSIX_ACL | f.DONT_MASK;
  if (want.cacheInvalidation === 'auto') flags |= f.AUTO_INVAL_DATA;
  if (want.cacheInvalidation === 'explicit') flags |= f.EXPLICIT_INVAL_DATA;
  let flags2 = f2.HAS_EXPIRE_ONLY | f2.HAS_RESEND;
  if (want.passthrough) flags2 |= f2.PASSTHROUGH;
  if (want.directMmap) flags2 |= f2.DIRECT_IO_ALLOW_MMAP;
  return { flags, flags2 };
}

/** Puts the answer to INIT; undefined: a kernel that is too old, which `detail` says. */
export function negotiate(
  m: Incoming,
  out: Outgoing,
  want: Features,
  locks: boolean,
): Negotiated | undefined {
  const [major, minor, readahead, offered] = [m.u32(10), m.u32(11), m.u32(12), m.u32(13)];
  if (major !== 7 || minor < minorMin) return undefined;
  const ours = wantedFlags(want, locks);
  const flags = ours.flags & offered;
  const flags2 = offered & f.INIT_EXT ? ours.flags2 & m.u32(14) : 0;
  const maxWrite = flags & f.MAX_PAGES ? (want.maxWrite ?? maxWriteMax) : 32 * pageBytes;
  const background = want.maxBackground ?? 128;
  const congested = Math.ceil(background * 0.75);
  out.putWords(
    ...[7, minorOurs, Math.min(readahead, want.maxReadahead ?? readahead), flags],
    ...[background | (congested << 16), maxWrite, timeGranularityNs],
    ...[Math.ceil(maxWrite / pageBytes), flags2],
    ...[flags2 & f2.PASSTHROUGH ? stackDepthMax : 0, 0, 0, 0, 0, 0, 0],
  );
  return { minor, flags: flags >>> 0, flags2: flags2 >>> 0, maxWrite };
}
