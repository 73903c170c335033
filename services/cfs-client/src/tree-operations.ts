// The kernel's requests about names and attributes as lookups and changes of the metadata server.
import { type Dirent, errno, type Filesystem, fileType, renameFlag, xattrFlag } from '@ssi/fuse';
import { attributes, type Client } from './client.ts';

export function treeOperations(c: Client): Filesystem {
  const { server } = c;
  /** By open directory: a listing stays as it was, so that no name is passed over when others go. */
  const listings = new Map<number, readonly Dirent[]>();
  let opened = 0;
  return {
    async lookup(r, name) {
      if (name.length > c.nameMax) return -errno.ENAMETOOLONG;
      const found = await server.lookup(r.node, name);
      return found.ok ? c.entry(found.value) : c.failed(found);
    },
    getattr: (r) => c.attributesOf(r.node),
    async setattr(r, s) {
      const cut = s.mode === undefined && s.killSuidGid ? await c.modeWithoutSetId(r.node) : {};
      if (typeof cut === 'number') return cut;
      const change = {
        ...cut,
        ...(s.mode !== undefined ? { mode: s.mode } : {}),
        ...(s.uid !== undefined ? { owner: s.uid } : {}),
        ...(s.gid !== undefined ? { group: s.gid } : {}),
        ...(s.size !== undefined ? { size: s.size } : {}),
        ...(s.atime ? { atime: c.time(s.atime) } : {}),
        ...(s.mtime ? { mtime: c.time(s.mtime) } : {}),
      };
      const info = await c.changed(r, { op: 'setattr', ino: r.node, ...change });
      return typeof info === 'number' ? info : attributes(info);
    },
    async readlink(r) {
      const found = await server.info(r.node);
      return found.ok ? found.value.target : c.failed(found);
    },
    symlink: (r, { name, target }) => c.make(r, { name, mode: fileType.SYMLINK | 0o777, target }),
    mknod: (r, { name, mode, rdev }) => c.make(r, { name, mode, rdev }),
    mkdir: (r, { name, mode }) => c.make(r, { name, mode: fileType.DIRECTORY | (mode & 0o7777) }),
    async link(r, { target, name }) {
      if (name.length > c.nameMax) return -errno.ENAMETOOLONG;
      return c.entryAfter(r, { op: 'link', parent: r.node, name, ino: target });
    },
    unlink: async (r, name) => c.done(await c.change(r, { op: 'unlink', parent: r.node, name })),
    rmdir: async (r, name) => c.done(await c.change(r, { op: 'rmdir', parent: r.node, name })),
    async rename(r, b) {
      if (b.newName.length > c.nameMax) return -errno.ENAMETOOLONG;
      if (b.flags & ~(renameFlag.NOREPLACE | renameFlag.EXCHANGE)) return -errno.EINVAL;
      const how =
        b.flags & renameFlag.EXCHANGE
          ? 'exchange'
          : b.flags & renameFlag.NOREPLACE
            ? 'noReplace'
            : 'replace';
      const to = { newParent: b.newParent, newName: b.newName, how } as const;
      return c.done(await c.change(r, { op: 'rename', parent: r.node, name: b.name, ...to }));
    },
    opendir: () => ({ fh: ++opened }),
    async readdir(r, page) {
      let list = page.offset > 0 ? listings.get(page.fh) : undefined;
      if (!list) {
        const found = await server.list(r.node);
        if (!found.ok) return c.failed(found);
        const names = [{ name: '.', ino: r.node, mode: fileType.DIRECTORY }, ...found.value];
        list = names.map((entry, i) => ({ ...entry, nextOffset: i + 1 }));
        listings.set(page.fh, list);
      }
      for (const entry of list.slice(page.offset)) if (!page.add(entry)) break;
      return 0;
    },
    releasedir(_, { fh }) {
      listings.delete(fh);
      return 0;
    },
    async statfs() {
      const room = await server.room();
      return room.ok ? room.value : c.failed(room);
    },
    async setxattr(r, { name, value, flags }) {
      // Nobody would heed it: the kernel checks ACLs only of a mount that has them.
      if (name.startsWith('system.')) return -errno.EOPNOTSUPP;
      const { CREATE, REPLACE } = xattrFlag;
      const how = flags & CREATE ? 'create' : flags & REPLACE ? 'replace' : 'any';
      const kept = Uint8Array.from(value);
      return c.done(await c.change(r, { op: 'xattr', ino: r.node, name, value: kept, how }));
    },
    async getxattr(r, name) {
      const found = await server.info(r.node);
      if (!found.ok) return c.failed(found);
      return found.value.xattrs[name] ?? -errno.ENODATA;
    },
    async listxattr(r) {
      const found = await server.info(r.node);
      return found.ok ? Object.keys(found.value.xattrs) : c.failed(found);
    },
    removexattr: async (r, name) =>
      c.done(await c.change(r, { op: 'xattr', ino: r.node, name, how: 'any' })),
  };
}
