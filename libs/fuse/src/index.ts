// Every export of the FUSE library, by file.
export type { Absent, Attributes, Entry, Statfs } from './attributes.ts';
export type * from './bodies.ts';
export { type Mounted, mount, resume } from './connection.ts';
export { Device } from './device.ts';
export { DirectoryPage, type Dirent } from './directory-page.ts';
export { errno, errnoName, errnoOf } from './errno.ts';
export type { Answer, Created, Done, Filesystem, LockFound } from './filesystem.ts';
export {
  fallocateFlag,
  fileType,
  lockType,
  openFlag,
  renameFlag,
  seekWhence,
  xattrFlag,
} from './flags.ts';
export { nameText, textName } from './incoming.ts';
export type { Features, Negotiated } from './init.ts';
export { type Lock, type LockRequest, LockTable } from './lock-table.ts';
export { isMounted, type MountOptions, mountFd, type UnmountKind, unmount } from './mount.ts';
export type { Opened } from './outgoing.ts';
export type { Request } from './request.ts';
export { type Ended, Session, type SessionOptions } from './session.ts';
