// A whole POSIX file system in memory, as an example of a `Filesystem` and what the library is tested with.
// Reading does not change atime (as if it were mounted noatime).
import {
  errno,
  type Filesystem,
  fallocateFlag,
  type Lock,
  lockType,
  seekWhence,
  xattrFlag,
} from '@ssi/fuse';
import type { Inode } from './inode.ts';
import { names, Tree } from './names.ts';

const fileMax = 2 ** 43;
const append = 0o2000;
const truncate = 0o1000;

export const memoryFilesystem = (): Filesystem => {
  const tree = new Tree();
  return { ...names(tree), ...files(tree), ...attributes(tree), ...locks(tree) };
};

function attributes(tree: Tree): Filesystem {
  return {
    getattr: (r) => tree.at(r.node),
    setattr(r, c) {
      const inode = tree.at(r.node);
      if (c.size !== undefined) {
        if (inode.children) return -errno.EISDIR;
        if (c.size > fileMax) return -errno.EFBIG;
        inode.content.truncate(c.size);
        inode.touch();
      }
      if (c.mode !== undefined) inode.mode = (inode.mode & ~0o7777) | (c.mode & 0o7777);
      if (c.uid !== undefined) inode.uid = c.uid;
      if (c.gid !== undefined) inode.gid = c.gid;
      const chowned = c.uid !== undefined || c.gid !== undefined;
      if (c.killSuidGid || (chowned && c.mode === undefined && !inode.children)) inode.killSetId();
      inode.touch('attributes');
      const now = { sec: inode.ctimeSec, nsec: inode.ctimeNsec };
      if (c.atime) {
        const t = c.atime === 'now' ? now : c.atime;
        [inode.atimeSec, inode.atimeNsec] = [t.sec, t.nsec];
      }
      if (c.mtime) {
        const t = c.mtime === 'now' ? now : c.mtime;
        [inode.mtimeSec, inode.mtimeNsec] = [t.sec, t.nsec];
      }
      if (c.ctime) [inode.ctimeSec, inode.ctimeNsec] = [c.ctime.sec, c.ctime.nsec];
      return inode;
    },
    setxattr(r, { name, value, flags }) {
      const inode = tree.at(r.node);
      const has = inode.xattrs.has(name);
      if (flags & xattrFlag.CREATE && has) return -errno.EEXIST;
      if (flags & xattrFlag.REPLACE && !has) return -errno.ENODATA;
      inode.xattrs.set(name, Uint8Array.from(value));
      inode.touch('attributes');
      return 0;
    },
    getxattr: (r, name) => tree.at(r.node).xattrs.get(name) ?? -errno.ENODATA,
    listxattr: (r) => [...tree.at(r.node).xattrs.keys()],
    removexattr(r, name) {
      const inode = tree.at(r.node);
      if (!inode.xattrs.delete(name)) return -errno.ENODATA;
      inode.touch('attributes');
      return 0;
    },
    statfs: () => ({
      blocks: 2 ** 24,
      blocksFree: 2 ** 23,
      blocksAvailable: 2 ** 23,
      files: 2 ** 20,
      filesFree: 2 ** 20 - tree.inodes.size,
      blockSize: 4096,
      nameMax: 255,
    }),
  };
}

function files(tree: Tree): Filesystem {
  const none = () => 0 as const;
  return {
    open(r, { flags, killSuidGid }) {
      const inode = tree.at(r.node);
      if (flags & truncate) {
        inode.content.truncate(0);
        if (killSuidGid) inode.killSetId();
        inode.touch();
      }
      return { fh: tree.handle() };
    },
    read: (r, { offset, size }) => tree.at(r.node).content.read(offset, size),
    write(r, { offset, data, flags, killSuidGid, fromCache }) {
      const inode = tree.at(r.node);
      const at = flags & append && !fromCache ? inode.content.size : offset;
      if (at + data.length > fileMax) return -errno.EFBIG;
      inode.content.write(at, data);
      if (killSuidGid) inode.killSetId();
      inode.touch();
      return data.length;
    },
    fsync: none,
    fsyncdir: none,
    fallocate(r, { offset, length, mode }) {
      const { KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE } = fallocateFlag;
      if (mode & ~(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE)) return -errno.EOPNOTSUPP;
      const inode = tree.at(r.node);
      const { content } = inode;
      if (mode & (PUNCH_HOLE | ZERO_RANGE)) content.punch(offset, length);
      if (!(mode & KEEP_SIZE) && offset + length > content.size) {
        if (offset + length > fileMax) return -errno.EFBIG;
        content.truncate(offset + length);
      }
      inode.touch();
      return 0;
    },
    seek(r, { offset, whence }) {
      const kind = whence === seekWhence.DATA ? 'data' : 'hole';
      return tree.at(r.node).content.seek(offset, kind) ?? -errno.ENXIO;
    },
    copy(r, { offset, target, targetOffset, length }) {
      const to = tree.at(target);
      const parts = tree.at(r.node).content.read(offset, Math.min(length, 2 ** 30));
      let copied = 0;
      // Through a copy of its own: both may be one file.
      for (const part of parts.map((p) => Uint8Array.from(p))) {
        to.content.write(targetOffset + copied, part);
        copied += part.length;
      }
      to.touch();
      return copied;
    },
  };
}

function locks(tree: Tree): Filesystem {
  const table = (inode: Inode, flock: boolean) => (flock ? inode.flocks : inode.locks);
  return {
    getlk(r, wanted) {
      const found = tree.at(r.node).locks.conflict(wanted);
      return found ?? { start: wanted.start, end: wanted.end, type: lockType.UNLOCK, pid: 0 };
    },
    setlk(r, lock, wait) {
      const held = table(tree.at(r.node), lock.flock);
      return wait && held.conflict(lock) ? held.wait(lock, r.signal) : held.set(lock);
    },
    flush(r, { lockOwner }) {
      tree.at(r.node).locks.drop((l: Lock) => l.owner === lockOwner);
      return 0;
    },
    release(r, { fh, lockOwner, unlockFlock }) {
      const inode = tree.at(r.node);
      // Locks of open file descriptions have no flush of theirs.
      inode.locks.drop((l: Lock) => l.fh === fh);
      if (unlockFlock) inode.flocks.drop((l: Lock) => l.owner === lockOwner);
      return 0;
    },
  };
}
