// The names of the file system in memory: lookup, create, link, unlink, rename, listings.
import {
  type Created,
  errno,
  type Filesystem,
  fileType,
  type Opened,
  type Request,
  renameFlag,
} from '@ssi/fuse';
import { Inode } from './inode.ts';

const nameMax = 255;

/** What the parts of the file system share. */
export class Tree {
  readonly inodes = new Map<number, Inode>();
  readonly root = new Inode(1, fileType.DIRECTORY | 0o755, { uid: 0, gid: 0 });
  readonly listings = new Map<number, readonly (readonly [string, Inode])[]>();
  #nextNode = 2;
  #nextHandle = 1;

  constructor() {
    this.root.parent = this.root;
    this.inodes.set(1, this.root);
  }

  at(node: number): Inode {
    const inode = this.inodes.get(node);
    if (!inode) throw new Error(`no node ${node}`);
    return inode;
  }

  handle(): number {
    return this.#nextHandle++;
  }

  /** An inode with no name yet, of the caller or of the directory's group. */
  make(r: Request, mode: number, rdev = 0): Inode {
    const directory = this.at(r.node);
    const inherits = (directory.mode & 0o2000) !== 0;
    const isDirectory = (mode & fileType.MASK) === fileType.DIRECTORY;
    const owner = { uid: r.uid, gid: inherits ? directory.gid : r.gid };
    const node = this.#nextNode++;
    const inode = new Inode(node, inherits && isDirectory ? mode | 0o2000 : mode, owner, rdev);
    this.inodes.set(node, inode);
    return inode;
  }

  /** A new inode under a name, handed to the kernel; or the negative errno. */
  add(r: Request, name: string, mode: number, rdev = 0): Inode | number {
    const directory = this.at(r.node);
    const trouble = this.vacant(directory, name);
    if (trouble < 0) return trouble;
    const inode = this.make(r, mode, rdev);
    directory.children?.set(name, inode);
    if (inode.children) {
      inode.parent = directory;
      directory.nlink++;
    }
    directory.touch();
    return handOut(inode);
  }

  vacant(directory: Inode, name: string): number {
    if (name.length > nameMax) return -errno.ENAMETOOLONG;
    if (directory.nlink === 0) return -errno.ENOENT;
    return directory.children?.has(name) ? -errno.EEXIST : 0;
  }

  remove(directory: Inode, name: string, inode: Inode): void {
    directory.children?.delete(name);
    if (inode.children) {
      inode.nlink = 0;
      directory.nlink--;
    } else inode.nlink--;
    inode.touch('attributes');
    directory.touch();
    this.collect(inode);
  }

  collect(inode: Inode): void {
    if (inode.nlink === 0 && inode.lookups === 0) this.inodes.delete(inode.node);
  }
}

function handOut(inode: Inode): Inode {
  inode.lookups++;
  return inode;
}

const opened = (inode: Inode, o: Opened): Created => ({
  node: inode.node,
  attributes: inode,
  ...o,
});

export function names(tree: Tree): Filesystem {
  return {
    lookup(r, name) {
      if (name.length > nameMax) return -errno.ENAMETOOLONG;
      const inode = tree.at(r.node).children?.get(name);
      return inode ? handOut(inode) : -errno.ENOENT;
    },
    forget(node, count) {
      const inode = tree.inodes.get(node);
      if (!inode) return;
      inode.lookups -= count;
      tree.collect(inode);
    },
    readlink: (r) => tree.at(r.node).target,
    symlink(r, { name, target }) {
      const inode = tree.add(r, name, fileType.SYMLINK | 0o777);
      if (typeof inode !== 'number') inode.target = target;
      return inode;
    },
    mknod: (r, { name, mode, rdev }) => tree.add(r, name, mode, rdev),
    mkdir: (r, { name, mode }) => tree.add(r, name, fileType.DIRECTORY | (mode & 0o7777)),
    create(r, { name, mode }) {
      const inode = tree.add(r, name, fileType.REGULAR | (mode & 0o7777));
      return typeof inode === 'number' ? inode : opened(inode, { fh: tree.handle() });
    },
    tmpfile(r, { mode }) {
      const inode = handOut(tree.make(r, fileType.REGULAR | (mode & 0o7777)));
      inode.nlink = 0;
      return opened(inode, { fh: tree.handle() });
    },
    link(r, { target, name }) {
      const directory = tree.at(r.node);
      const trouble = tree.vacant(directory, name);
      if (trouble < 0) return trouble;
      const inode = tree.at(target);
      directory.children?.set(name, inode);
      inode.nlink++;
      inode.touch('attributes');
      directory.touch();
      return handOut(inode);
    },
    unlink: (r, name) => takeAway(tree, r, name, 'file'),
    rmdir: (r, name) => takeAway(tree, r, name, 'directory'),
    rename: (r, b) => rename(tree, r, b),
    opendir(r) {
      const fh = tree.handle();
      tree.listings.set(fh, listing(tree.at(r.node)));
      return { fh };
    },
    readdir(r, page) {
      if (page.offset === 0) tree.listings.set(page.fh, listing(tree.at(r.node)));
      const list = tree.listings.get(page.fh) ?? [];
      for (let i = page.offset; i < list.length; i++) {
        const [name, inode] = list[i] as readonly [string, Inode];
        const at = { name, ino: inode.ino, mode: inode.mode, nextOffset: i + 1 };
        const itself = name === '.' || name === '..';
        const gone = inode.lookups === 0 && inode.nlink === 0;
        const entry = page.plus && !itself && !gone ? inode : undefined;
        if (!page.add(entry ? { ...at, entry } : at)) break;
        if (entry) handOut(entry);
      }
      return 0;
    },
    releasedir(_, { fh }) {
      tree.listings.delete(fh);
      return 0;
    },
  };
}

const listing = (directory: Inode): readonly (readonly [string, Inode])[] => [
  ['.', directory],
  ['..', directory.parent ?? directory],
  ...(directory.children ?? []),
];

function takeAway(tree: Tree, r: Request, name: string, kind: 'file' | 'directory'): 0 | number {
  const directory = tree.at(r.node);
  const inode = directory.children?.get(name);
  if (!inode) return -errno.ENOENT;
  if (kind === 'file' && inode.children) return -errno.EISDIR;
  if (kind === 'directory' && !inode.children) return -errno.ENOTDIR;
  if (inode.children && inode.children.size > 0) return -errno.ENOTEMPTY;
  tree.remove(directory, name, inode);
  return 0;
}

type Place = { readonly directory: Inode; readonly name: string };

function rename(
  tree: Tree,
  r: Request,
  b: { name: string; newParent: number; newName: string; flags: number },
): 0 | number {
  const from: Place = { directory: tree.at(r.node), name: b.name };
  const to: Place = { directory: tree.at(b.newParent), name: b.newName };
  const inode = from.directory.children?.get(from.name);
  const target = to.directory.children?.get(to.name);
  if (to.name.length > nameMax) return -errno.ENAMETOOLONG;
  if (!inode || to.directory.nlink === 0) return -errno.ENOENT;
  if (b.flags & ~(renameFlag.NOREPLACE | renameFlag.EXCHANGE)) return -errno.EINVAL;
  if (isWithin(to.directory, inode)) return -errno.EINVAL;
  if (b.flags & renameFlag.EXCHANGE) {
    if (!target) return -errno.ENOENT;
    if (isWithin(from.directory, target)) return -errno.EINVAL;
    move(inode, from, to);
    move(target, to, from);
    return 0;
  }
  if (target && b.flags & renameFlag.NOREPLACE) return -errno.EEXIST;
  if (target === inode) return 0;
  if (target) {
    if (target.children && !inode.children) return -errno.EISDIR;
    if (!target.children && inode.children) return -errno.ENOTDIR;
    if (target.children && target.children.size > 0) return -errno.ENOTEMPTY;
    tree.remove(to.directory, to.name, target);
  }
  from.directory.children?.delete(from.name);
  move(inode, from, to);
  return 0;
}

/** Whether a directory is below `above`, or is it. */
function isWithin(directory: Inode, above: Inode): boolean {
  for (let at: Inode | undefined = directory; at; at = at.parent === at ? undefined : at.parent)
    if (at === above) return true;
  return false;
}

function move(inode: Inode, from: Place, to: Place): void {
  to.directory.children?.set(to.name, inode);
  if (inode.children && from.directory !== to.directory) {
    inode.parent = to.directory;
    from.directory.nlink--;
    to.directory.nlink++;
  }
  inode.touch('attributes');
  from.directory.touch();
  to.directory.touch();
}
