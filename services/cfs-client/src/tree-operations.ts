// The kernel's requests about names and attributes as lookups and changes of the metadata server.
import { errno, type Filesystem, fileType, type Request, renameFlag, xattrFlag } from '@ssi/fuse';
import type { Client } from './client.ts';

export function treeOperations(c: Client): Filesystem {
  const { metadata } = c;
  return {
    async lookup(r, name) {
      if (name.length > c.nameMax) return -errno.ENAMETOOLONG;
      const found = await metadata.lookup(r.node, name);
      return found.ok ? c.entry(found.value) : c.failed(found);
    },
    getattr: (r) => c.attributesOf(r.node),
    async setattr(r, s) {
      const before = await metadata.info(r.node);
      if (!before.ok) return c.failed(before);
      const cut = c.withoutSetId(before.value.mode);
      const change = {
        ...(s.mode !== undefined ? { mode: s.mode } : s.killSuidGid ? { mode: cut } : {}),
        ...(s.uid !== undefined ? { owner: s.uid } : {}),
        ...(s.gid !== undefined ? { group: s.gid } : {}),
        ...(s.size !== undefined ? { size: s.size } : {}),
        ...(s.atime ? { atime: c.time(s.atime) } : {}),
        ...(s.mtime ? { mtime: c.time(s.mtime) } : {}),
      };
      const done = await c.change(r, { op: 'setattr', ino: r.node, ...change });
      if (done < 0) return done;
      if (s.size !== undefined) {
        const result = c.data.truncate(r.node, s.size);
        if (result < 0) return result;
      }
      return c.attributesOf(r.node);
    },
    async readlink(r) {
      const found = await metadata.info(r.node);
      return found.ok ? found.value.target : c.failed(found);
    },
    symlink: (r, { name, target }) => c.make(r, { name, mode: fileType.SYMLINK | 0o777, target }),
    mknod: (r, { name, mode, rdev }) => c.make(r, { name, mode, rdev }),
    mkdir: (r, { name, mode }) => c.make(r, { name, mode: fileType.DIRECTORY | (mode & 0o7777) }),
    async link(r, { target, name }) {
      if (name.length > c.nameMax) return -errno.ENAMETOOLONG;
      const done = await c.change(r, { op: 'link', parent: r.node, name, ino: target });
      return done < 0 ? done : c.entryOf(target);
    },
    unlink: (r, name) => takeAway(c, r, name, 'unlink'),
    rmdir: (r, name) => takeAway(c, r, name, 'rmdir'),
    async rename(r, b) {
      if (b.newName.length > c.nameMax) return -errno.ENAMETOOLONG;
      if (b.flags & ~(renameFlag.NOREPLACE | renameFlag.EXCHANGE)) return -errno.EINVAL;
      const replaced = await metadata.lookup(b.newParent, b.newName);
      const how =
        b.flags & renameFlag.EXCHANGE
          ? 'exchange'
          : b.flags & renameFlag.NOREPLACE
            ? 'noReplace'
            : 'replace';
      const to = { newParent: b.newParent, newName: b.newName, how } as const;
      const done = await c.change(r, { op: 'rename', parent: r.node, name: b.name, ...to });
      if (done < 0) return done;
      if (replaced.ok) await c.removeIfGone(replaced.value.ino);
      return 0;
    },
    async readdir(r, page) {
      const found = await metadata.list(r.node);
      if (!found.ok) return c.failed(found);
      const list = [{ name: '.', ino: r.node, mode: fileType.DIRECTORY }, ...found.value];
      for (let i = page.offset; i < list.length; i++) {
        const entry = list[i];
        if (entry && !page.add({ ...entry, nextOffset: i + 1 })) break;
      }
      return 0;
    },
    statfs: () => c.data.room(),
    async setxattr(r, { name, value, flags }) {
      const { CREATE, REPLACE } = xattrFlag;
      const how = flags & CREATE ? 'create' : flags & REPLACE ? 'replace' : 'any';
      const kept = Uint8Array.from(value);
      return c.done(await c.change(r, { op: 'xattr', ino: r.node, name, value: kept, how }));
    },
    async getxattr(r, name) {
      const found = await metadata.info(r.node);
      if (!found.ok) return c.failed(found);
      return found.value.xattrs[name] ?? -errno.ENODATA;
    },
    async listxattr(r) {
      const found = await metadata.info(r.node);
      return found.ok ? Object.keys(found.value.xattrs) : c.failed(found);
    },
    removexattr: async (r, name) =>
      c.done(await c.change(r, { op: 'xattr', ino: r.node, name, how: 'any' })),
  };
}

async function takeAway(
  c: Client,
  r: Request,
  name: string,
  op: 'unlink' | 'rmdir',
): Promise<0 | number> {
  const ino = await c.change(r, { op, parent: r.node, name });
  if (ino < 0) return ino;
  await c.removeIfGone(ino);
  return 0;
}
