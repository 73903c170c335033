// Contracts of services/cfs-metadata (what changes a tree, one mutation each, as it stands in the server's log, and
// what clients ask) and of services/cfs-client. v1: first version. [design: section 10]
import { z } from 'zod';
import { defineContract, rpc } from './contract.ts';
import { serviceOps } from './service.ts';

const bytes = z.custom<Uint8Array>((v) => v instanceof Uint8Array);
/** Number of an inode, never used twice; 1 is the root. */
export const inodeNum = z.int().min(1);
/** 1 to 255 bytes, one character a byte (latin1), so that every name of Linux survives. [path_resolution(7)] */
export const fileName = z
  .string()
  .min(1)
  .max(255)
  .refine(
    (n) => !n.includes('/') && !n.includes('\0') && n !== '.' && n !== '..',
    'no file has it',
  );
/** As of setxattr(2): with its namespace. [xattr(7)] */
export const xattrName = z.string().min(1).max(255);
/** Whole seconds since 1970 and the nanoseconds after them. */
export const fileTime = z.tuple([z.int(), z.int().min(0).max(999_999_999)]);
/** Type and permissions. [inode(7)] */
export const fileMode = z.int().min(0).max(0o177777);
const userNum = z.int().min(0).max(0xffff_ffff);

/** Who asks and when, by the server's clock: a replay must come to the same. */
const asked = { at: fileTime, uid: userNum, gid: userNum };
const named = { parent: inodeNum, name: fileName };

/** A byte range, or (flock) the whole file, of one owner of one client. [fcntl(2), flock(2)] */
export const cfsLock = z.object({
  ino: inodeNum,
  client: z.string().min(1),
  /** A number of the client's kernel. */
  owner: z.string().max(32),
  flock: z.boolean(),
  start: z.int().min(0),
  /** Last byte; absent: to the end, however long the file gets. */
  end: z.int().min(0).optional(),
  /** F_RDLCK 0, F_WRLCK 1, F_UNLCK 2. */
  type: z.int().min(0).max(2),
  pid: z.int().min(0),
});

export type CfsLock = z.infer<typeof cfsLock>;

export const cfsMutation = z.discriminatedUnion('op', [
  /** A new inode under a name. `target`: of a symbolic link. `client`: has it open. EEXIST, ENOENT (the directory is gone), ENOTDIR. */
  z.object({
    op: z.literal('make'),
    ...asked,
    ...named,
    mode: fileMode,
    rdev: userNum.optional(),
    target: z.string().max(4095).optional(),
    client: z.string().min(1).optional(),
  }),
  /** A new file without a name, open by its client; `link` may give it one. ENOENT, ENOTDIR. [open(2): O_TMPFILE] */
  z.object({
    op: z.literal('tmpfile'),
    ...{ ...asked, parent: inodeNum, mode: fileMode, client: z.string().min(1) },
  }),
  /** One more name for a file. EPERM: it is a directory. EEXIST, ENOENT, EMLINK. [link(2)] */
  z.object({ op: z.literal('link'), ...asked, ...named, ino: inodeNum }),
  /** EISDIR, ENOENT. What is still open stays until its last release. [unlink(2)] */
  z.object({ op: z.literal('unlink'), ...asked, ...named }),
  /** ENOTDIR, ENOTEMPTY, ENOENT. [rmdir(2)] */
  z.object({ op: z.literal('rmdir'), ...asked, ...named }),
  /** EINVAL: into itself. ENOTEMPTY, EISDIR, ENOTDIR, ENOENT, EEXIST. [renameat2(2)] */
  z.object({
    op: z.literal('rename'),
    ...asked,
    ...named,
    newParent: inodeNum,
    newName: fileName,
    how: z.enum(['replace', 'noReplace', 'exchange']),
  }),
  /** Absent: stays. ENOENT; EISDIR, EFBIG for a size. [chmod(2), chown(2), truncate(2), utimensat(2)] */
  z.object({
    op: z.literal('setattr'),
    ...asked,
    ino: inodeNum,
    mode: fileMode.optional(),
    owner: userNum.optional(),
    group: userNum.optional(),
    size: z.int().min(0).optional(),
    atime: fileTime.optional(),
    mtime: fileTime.optional(),
  }),
  /** `value` absent: removed. EEXIST, ENODATA, ENOENT. [setxattr(2), removexattr(2)] */
  z.object({
    op: z.literal('xattr'),
    ...asked,
    ino: inodeNum,
    name: xattrName,
    value: bytes.optional(),
    how: z.enum(['any', 'create', 'replace']),
  }),
  /** A client opens an inode, or closes it for the last time: an inode without names lives as long as one has it open. */
  z.object({ op: z.literal('open'), ...asked, ino: inodeNum, client: z.string().min(1) }),
  z.object({ op: z.literal('release'), ...asked, ino: inodeNum, client: z.string().min(1) }),
  /** Sets, changes or takes off a lock. EACCES: another is in the way. */
  cfsLock.extend({ op: z.literal('lock'), ...asked }),
  /** All that a client had open and locked: it is gone. */
  z.object({ op: z.literal('forget'), ...asked, client: z.string().min(1) }),
]);
export type CfsMutation = z.infer<typeof cfsMutation>;

/** What the operations above can end with. */
export type CfsErrno =
  | 'EPERM'
  | 'EACCES'
  | 'ENOENT'
  | 'EEXIST'
  | 'ENOTDIR'
  | 'EISDIR'
  | 'EINVAL'
  | 'ENOTEMPTY'
  | 'EMLINK'
  | 'EFBIG'
  | 'ENXIO'
  | 'EOPNOTSUPP'
  | 'ENODATA'
  | 'ENOSPC'
  | 'EAGAIN'
  | 'ESTALE'
  | 'EIO';

const cfsErrnos = [
  ...['EPERM', 'EACCES', 'ENOENT', 'EEXIST', 'ENOTDIR', 'EISDIR', 'EINVAL', 'ENOTEMPTY', 'EMLINK'],
  ...['EFBIG', 'ENXIO', 'EOPNOTSUPP', 'ENODATA', 'ENOSPC', 'EAGAIN', 'ESTALE', 'EIO', 'EREMCHG'],
] as const satisfies readonly (CfsErrno | 'EREMCHG')[];

/** What stat(2) tells, and what a symbolic link says. */
export const cfsInfo = z.object({
  ino: inodeNum,
  mode: fileMode,
  uid: userNum,
  gid: userNum,
  rdev: userNum,
  nlink: z.int().min(0),
  size: z.int().min(0),
  atime: fileTime,
  mtime: fileTime,
  ctime: fileTime,
  btime: fileTime,
  target: z.string(),
  xattrs: z.record(z.string(), bytes),
});

/** Names a request for good: a client's boot, its number there, and up to which all answers have come. */
export const cfsRequestId = z.object({
  client: z.string().regex(/^\d{1,4}-[A-Za-z0-9]{1,32}$/),
  id: z.int().min(1),
  acknowledged: z.int().min(0),
});

/** The key service of the metadata server. */
export const cfsKeyService = 'cfs';
/** bytes of one read or write: what a frame carries, with room to spare. */
export const cfsDataMax = 256 * 1024;

const ask = <Req extends z.ZodType, Rep extends z.ZodType>(
  summary: string,
  request: Req,
  reply: Rep,
  timeoutMs = 2_000,
) =>
  rpc({
    ...{ summary: `${summary} EREMCHG: not the server, or it opens its store yet.` },
    ...{ callers: ['cfsclient'], request, reply, errnos: cfsErrnos, timeoutMs },
  });

/**
 * The operations are for the active instance of `cfs`. Those with a request id run once, however often they are
 * asked for, also at a successor; the others change nothing.
 */
export const cfs = defineContract(cfsKeyService, 1, {
  ...serviceOps,
  attach: ask(
    'A client begins: what the clients of its node before it had open is let go.',
    cfsRequestId,
    z.object({}),
  ),
  lookup: ask(
    'The inode that has a name. [path_resolution(7)]',
    z.object({ parent: inodeNum, name: z.string() }),
    cfsInfo,
  ),
  info: ask('An inode. [stat(2)]', z.object({ ino: inodeNum }), cfsInfo),
  list: ask(
    'Names of a directory from the `from`th on, `..` first, in the order of their making. [readdir(3)]',
    z.object({ ino: inodeNum, from: z.int().min(0) }),
    z.object({
      names: z.array(z.object({ name: z.string(), ino: inodeNum, mode: fileMode })),
      more: z.boolean(),
    }),
  ),
  execute: ask(
    'A change of the tree. `at` is of the server; the inode that it was about comes back. A size is also the data file’s.',
    z.object({ request: cfsRequestId, change: cfsMutation }),
    z.object({
      ino: inodeNum,
      /** What it is then, where that is asked for next: after make, tmpfile, link and setattr. */
      info: cfsInfo.optional(),
    }),
  ),
  read: ask(
    'Bytes of a file; fewer: it ends there. [pread(2)]',
    z.object({ ino: inodeNum, offset: z.int().min(0), size: z.int().min(0).max(cfsDataMax) }),
    z.object({ bytes: bytes }),
    5_000,
  ),
  write: ask(
    'Bytes into a file; with `append` behind its end, in one step with finding it. Answered when they are in the data file and the size is in the log. [pwrite(2), O_APPEND]',
    z.object({
      request: cfsRequestId,
      ino: inodeNum,
      offset: z.int().min(0),
      append: z.boolean(),
      /** Set-id bits go. */
      killSuidGid: z.boolean(),
      uid: userNum,
      gid: userNum,
      bytes: bytes.refine((b) => b.length <= cfsDataMax, 'too many bytes'),
    }),
    z.object({ written: z.int().min(0) }),
    5_000,
  ),
  allocate: ask(
    '`grow` and `keep` take room for a range, `zero` makes zeros of it, `punch` makes a hole of it; all but `grow` leave the size. EOPNOTSUPP: the folder’s file system cannot. [fallocate(2)]',
    z.object({
      request: cfsRequestId,
      ino: inodeNum,
      offset: z.int().min(0),
      length: z.int().min(1),
      how: z.enum(['grow', 'keep', 'zero', 'punch']),
      uid: userNum,
      gid: userNum,
    }),
    z.object({}),
    5_000,
  ),
  seek: ask(
    'Where data or a hole begins, at `offset` or after it; the end of a file is a hole. ENXIO: past the end, or no more data. [lseek(2)]',
    z.object({ ino: inodeNum, offset: z.int().min(0), what: z.enum(['data', 'hole']) }),
    z.object({ offset: z.int().min(0) }),
  ),
  sync: ask(
    'What was answered before is on disk; `ino`: its data too. [fsync(2)]',
    z.object({ ino: inodeNum.optional() }),
    z.object({}),
    10_000,
  ),
  lockHolder: ask(
    'A lock that would be in the way; type UNLOCK (2): none. [fcntl(2): F_GETLK]',
    cfsLock,
    z.object({ start: z.int(), end: z.int().optional(), type: z.int(), pid: z.int() }),
  ),
  room: ask(
    'How much room there is. [statfs(2)]',
    z.object({}),
    z.object({
      blocks: z.number(),
      blocksFree: z.number(),
      blocksAvailable: z.number(),
      files: z.number(),
      filesFree: z.number(),
      blockSize: z.number(),
      nameMax: z.number(),
    }),
  ),
});

/** The mount of a node: what others must know of it. */
export const cfsClient = defineContract('cfsclient', 1, {
  ...serviceOps,
  locks: rpc({
    summary:
      'Locks that programs of this node have on its files: POSIX and open file description locks by who set them, flock(2) by the file, since whoever has it open has the lock.',
    callers: ['vproc'],
    request: z.object({}),
    reply: z.object({
      held: z.array(z.object({ ino: inodeNum, pid: z.int(), flock: z.boolean() })),
    }),
    errnos: [],
    timeoutMs: 1_000,
  }),
});
