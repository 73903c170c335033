// Contract of services/cfs-metadata, as far as it goes: what changes a tree, one mutation each, as it stands in
// the server's log. Operations on the bus come with the service. v1: first version. [design: section 10]
import { z } from 'zod';

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

export const cfsMutation = z.discriminatedUnion('op', [
  /** A new inode under a name. `target`: of a symbolic link. EEXIST, ENOENT (the directory is gone), ENOTDIR. */
  z.object({
    op: z.literal('make'),
    ...asked,
    ...named,
    mode: fileMode,
    rdev: userNum.optional(),
    target: z.string().max(4095).optional(),
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
    value: z.instanceof(Uint8Array).optional(),
    how: z.enum(['any', 'create', 'replace']),
  }),
  /** A client opens an inode, or closes it for the last time: an inode without names lives as long as one has it open. */
  z.object({ op: z.literal('open'), ...asked, ino: inodeNum, client: z.string().min(1) }),
  z.object({ op: z.literal('release'), ...asked, ino: inodeNum, client: z.string().min(1) }),
  /** All that a client had open: it is gone. */
  z.object({ op: z.literal('forget'), ...asked, client: z.string().min(1) }),
]);
export type CfsMutation = z.infer<typeof cfsMutation>;

/** What the operations above can end with. */
export type CfsErrno =
  | 'EPERM'
  | 'ENOENT'
  | 'EEXIST'
  | 'ENOTDIR'
  | 'EISDIR'
  | 'EINVAL'
  | 'ENOTEMPTY'
  | 'EMLINK'
  | 'EFBIG'
  | 'ENODATA'
  | 'ENOSPC'
  | 'EAGAIN'
  | 'ESTALE'
  | 'EIO';
