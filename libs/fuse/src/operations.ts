// Each operation of the protocol: how its message becomes a call of the file system, and how what that
// answers becomes the kernel's structure. [linux/fuse.h]
import * as body from './bodies.ts';
import { DirectoryPage } from './directory-page.ts';
import { errno } from './errno.ts';
import type { Answer, Filesystem, LockFound } from './filesystem.ts';
import type { Incoming } from './incoming.ts';
import { opcode } from './opcode.ts';
import { entryBytes, type Outgoing, type Ttl } from './outgoing.ts';
import type { Request } from './request.ts';

/** What was agreed on at INIT that changes how messages look. */
export interface Dialect {
  readonly setxattrExtended: boolean;
  readonly ttl: Ttl;
}

export interface Operation {
  /** undefined: the file system has no such operation. */
  handle(fs: Filesystem, r: Request, m: Incoming, d: Dialect): Answer<unknown> | undefined;
  encode(out: Outgoing, value: never, m: Wanted): void;
  /** Its body is a view of the message, which is to stay as it is until the answer. */
  readonly keepsMessage?: true;
}

/** How many bytes the caller wants at most (read, xattrs), kept apart as the message itself goes. */
export interface Wanted {
  readonly size: number;
}

/** The file system's value does not fit what was asked for: -ERANGE, which the session sends. */
export class TooLong extends Error {}

const nothing = (): void => {};
const putNumber = (out: Outgoing, n: number): void => out.putWords(n, 0);
const putCount = (out: Outgoing, n: number): void => out.putU64(n);
const putEntry: Operation['encode'] = (out, value) => out.putEntry(value);
const putOpened: Operation['encode'] = (out, value) => out.putOpened(value);
const putAttributes: Operation['encode'] = (out, value) => out.putAttributes(value);
const putCreated: Operation['encode'] = (out, value) => {
  out.putEntry(value);
  out.putOpened(value, entryBytes);
};

/** With size 0 only the length is asked for. */
function putXattr(out: Outgoing, value: Uint8Array, { size }: Wanted): void {
  if (size === 0) out.putWords(value.length, 0);
  else if (value.length > size) throw new TooLong();
  else out.putData(value);
}

function putLock(out: Outgoing, l: LockFound): void {
  const last = Number.isFinite(l.end) ? l.end : 2 ** 63;
  out.putWords(0, 0, 0, 0, l.type, l.pid);
  out.u64(4, l.start);
  out.u64(6, last);
  // The greatest offset there is, which a number of JavaScript misses by one.
  if (last === 2 ** 63) out.words.set([0xffff_ffff, 0x7fff_ffff], 6);
}

function putData(out: Outgoing, data: Uint8Array | readonly Uint8Array[], { size }: Wanted): void {
  const length = data instanceof Uint8Array ? data.length : data.reduce((n, p) => n + p.length, 0);
  if (length > size) throw new Error(`${length} bytes for a read of ${size}`);
  out.putData(data);
}

const page = (plus: boolean): Operation => ({
  handle: (fs, r, m, d) => {
    if (!fs.readdir) return undefined;
    const listing = new DirectoryPage(body.readBody(m), plus, d.ttl);
    const done = fs.readdir(r, listing);
    const answer = (n: number) => (n < 0 ? n : listing.bytes);
    return typeof done === 'number' ? answer(done) : done.then(answer);
  },
  encode: putData,
});

const simple = (handle: Operation['handle'], encode: Operation['encode'] = nothing): Operation => ({
  handle,
  encode,
});

const name = (m: Incoming): string => m.name(40);

/** By `opcode`; what is missing here gets ENOSYS. */
export const operations: { readonly [code: number]: Operation | undefined } = {
  [opcode.LOOKUP]: simple((fs, r, m) => fs.lookup?.(r, name(m)), putEntry),
  [opcode.GETATTR]: simple(
    (fs, r, m) => fs.getattr?.(r, m.u32(10) & 1 ? m.u64(12) : undefined),
    putAttributes,
  ),
  [opcode.STATX]: simple(
    (fs, r, m) => fs.getattr?.(r, m.u32(10) & 1 ? m.u64(12) : undefined),
    (out, value) => out.putStatx(value),
  ),
  [opcode.SETATTR]: simple((fs, r, m) => fs.setattr?.(r, body.setattrBody(m)), putAttributes),
  [opcode.READLINK]: simple(
    (fs, r) => fs.readlink?.(r),
    (out, target) => out.putData(Buffer.from(target, 'latin1')),
  ),
  [opcode.SYMLINK]: simple((fs, r, m) => fs.symlink?.(r, body.symlinkBody(m)), putEntry),
  [opcode.MKNOD]: simple((fs, r, m) => fs.mknod?.(r, body.mknodBody(m)), putEntry),
  [opcode.MKDIR]: simple((fs, r, m) => fs.mkdir?.(r, body.mkdirBody(m)), putEntry),
  [opcode.UNLINK]: simple((fs, r, m) => fs.unlink?.(r, name(m))),
  [opcode.RMDIR]: simple((fs, r, m) => fs.rmdir?.(r, name(m))),
  [opcode.RENAME]: simple((fs, r, m) => fs.rename?.(r, body.renameBody(m, false))),
  [opcode.RENAME2]: simple((fs, r, m) => fs.rename?.(r, body.renameBody(m, true))),
  [opcode.LINK]: simple((fs, r, m) => fs.link?.(r, body.linkBody(m)), putEntry),
  [opcode.CREATE]: simple((fs, r, m) => fs.create?.(r, body.createBody(m)), putCreated),
  [opcode.TMPFILE]: simple((fs, r, m) => fs.tmpfile?.(r, body.createBody(m)), putCreated),
  [opcode.OPEN]: simple((fs, r, m) => fs.open?.(r, body.openBody(m)), putOpened),
  [opcode.READ]: simple((fs, r, m) => fs.read?.(r, body.readBody(m)), putData),
  [opcode.WRITE]: {
    ...simple((fs, r, m) => fs.write?.(r, body.writeBody(m)), putNumber),
    keepsMessage: true,
  },
  [opcode.FLUSH]: simple((fs, r, m) => fs.flush?.(r, body.flushBody(m))),
  [opcode.RELEASE]: simple((fs, r, m) => fs.release?.(r, body.releaseBody(m)) ?? 0),
  [opcode.FSYNC]: simple((fs, r, m) => fs.fsync?.(r, body.fsyncBody(m))),
  [opcode.FALLOCATE]: simple((fs, r, m) => fs.fallocate?.(r, body.fallocateBody(m))),
  [opcode.LSEEK]: simple((fs, r, m) => fs.seek?.(r, body.seekBody(m)), putCount),
  [opcode.COPY_FILE_RANGE]: simple((fs, r, m) => fs.copy?.(r, body.copyBody(m)), putNumber),
  [opcode.COPY_FILE_RANGE_64]: simple((fs, r, m) => fs.copy?.(r, body.copyBody(m)), putCount),
  [opcode.POLL]: simple((fs, r, m) => fs.poll?.(r, body.pollBody(m)), putNumber),
  [opcode.OPENDIR]: simple((fs, r, m) => fs.opendir?.(r, body.openBody(m)), putOpened),
  [opcode.READDIR]: page(false),
  [opcode.READDIRPLUS]: page(true),
  [opcode.RELEASEDIR]: simple((fs, r, m) => fs.releasedir?.(r, body.releaseBody(m)) ?? 0),
  [opcode.FSYNCDIR]: simple((fs, r, m) => fs.fsyncdir?.(r, body.fsyncBody(m))),
  [opcode.SETXATTR]: {
    ...simple((fs, r, m, d) => fs.setxattr?.(r, body.setxattrBody(m, d.setxattrExtended))),
    keepsMessage: true,
  },
  [opcode.GETXATTR]: simple((fs, r, m) => fs.getxattr?.(r, m.name(48)), putXattr),
  [opcode.LISTXATTR]: simple(
    (fs, r) => fs.listxattr?.(r),
    (out, names: readonly string[], wanted) =>
      putXattr(out, Buffer.from(names.map((n) => `${n}\0`).join(''), 'latin1'), wanted),
  ),
  [opcode.REMOVEXATTR]: simple((fs, r, m) => fs.removexattr?.(r, name(m))),
  [opcode.GETLK]: simple((fs, r, m) => fs.getlk?.(r, body.lockBody(m)), putLock),
  [opcode.SETLK]: simple((fs, r, m) => fs.setlk?.(r, body.lockBody(m), false)),
  [opcode.SETLKW]: simple((fs, r, m) => fs.setlk?.(r, body.lockBody(m), true)),
  [opcode.ACCESS]: simple((fs, r, m) => fs.access?.(r, m.u32(10))),
  [opcode.STATFS]: simple(
    (fs, r) => fs.statfs?.(r),
    (out, value) => out.putStatfs(value),
  ),
  [opcode.SYNCFS]: simple((fs, r) => fs.syncfs?.(r)),
  // Device controls mean nothing on a tree; ENOSYS would read as if the kernel were at fault.
  [opcode.IOCTL]: simple(() => -errno.ENOTTY),
};

/** What the encoder may need of the message when the message is gone. */
export const wanted = (m: Incoming): Wanted => {
  const code = m.opcode;
  const xattr = code === opcode.GETXATTR || code === opcode.LISTXATTR;
  return { size: m.u32(xattr ? 10 : 14) };
};
