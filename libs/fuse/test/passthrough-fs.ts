// Another example: a directory of this machine under a second name. Each node is an open O_PATH descriptor,
// so that it stays the same file through renames. File data goes by backing files, where the session has
// them: then the kernel reads and writes without asking.
import * as fs from 'node:fs';
import {
  type Attributes,
  type Entry,
  errno,
  errnoOf,
  type Filesystem,
  type Session,
} from '@ssi/fuse';

const pathOnly = 0o10000000 | fs.constants.O_NOFOLLOW;

interface Node {
  readonly node: number;
  readonly fd: number;
  lookups: number;
  /** Of the backing file, while something is open. */
  backing: number;
  opens: number;
}

function attributesOf(s: fs.BigIntStats): Attributes {
  const ns = 1_000_000_000n;
  const time = (t: bigint) => [Number(t / ns), Number(t % ns)] as const;
  const [[atimeSec, atimeNsec], [mtimeSec, mtimeNsec], [ctimeSec, ctimeNsec]] = [
    time(s.atimeNs),
    time(s.mtimeNs),
    time(s.ctimeNs),
  ];
  return {
    ...{ atimeSec, atimeNsec, mtimeSec, mtimeNsec, ctimeSec, ctimeNsec },
    ino: Number(s.ino),
    size: Number(s.size),
    blocks: Number(s.blocks),
    mode: Number(s.mode),
    nlink: Number(s.nlink),
    uid: Number(s.uid),
    gid: Number(s.gid),
    rdev: Number(s.rdev),
    blockSize: Number(s.blksize),
  };
}

/** What `node:fs` throws becomes the negative errno. */
const tried = <T>(work: () => T): T | number => {
  try {
    return work();
  } catch (error) {
    return errnoOf(error);
  }
};

const done = (work: () => void): 0 | number => {
  const result = tried(work);
  return typeof result === 'number' ? result : 0;
};

export function passthroughFilesystem(
  source: string,
  session: () => Session | undefined,
  backed: boolean,
): Filesystem {
  const root: Node = {
    node: 1,
    fd: fs.openSync(source, pathOnly),
    lookups: 1,
    backing: 0,
    opens: 0,
  };
  const nodes = new Map<number, Node>([[1, root]]);
  const byInode = new Map<string, Node>();
  let next = 2;
  const at = (node: number): Node => {
    const found = nodes.get(node);
    if (!found) throw new Error(`no node ${node}`);
    return found;
  };
  const path = (node: number, name?: string): string =>
    name === undefined
      ? `/proc/self/fd/${at(node).fd}`
      : `/proc/self/fd/${at(node).fd}/${Buffer.from(name, 'latin1').toString('utf8')}`;
  const stat = (node: number): Attributes =>
    attributesOf(fs.fstatSync(at(node).fd, { bigint: true }));

  /** The entry of a name that is there, counted as a lookup. */
  function look(parent: number, name: string): Entry {
    const fd = fs.openSync(path(parent, name), pathOnly);
    const stats = fs.fstatSync(fd, { bigint: true });
    const key = `${stats.dev}:${stats.ino}`;
    let node = byInode.get(key);
    if (node) fs.closeSync(fd);
    else {
      node = { node: next++, fd, lookups: 0, backing: 0, opens: 0 };
      byInode.set(key, node);
      nodes.set(node.node, node);
    }
    node.lookups++;
    return { node: node.node, attributes: attributesOf(stats) };
  }

  /** An open file that the caller owns, as the file system of the source would have it. */
  function opened(
    node: Node,
    flags: number,
    fd = fs.openSync(path(node.node), flags & ~fs.constants.O_NOFOLLOW),
  ) {
    node.opens++;
    if (!backed) return { fh: fd };
    if (node.backing <= 0) node.backing = session()?.openBacking(fd) ?? 0;
    return node.backing > 0 ? { fh: fd, backing: node.backing } : { fh: fd };
  }

  const own = (parent: number, name: string, r: { uid: number; gid: number }): Entry => {
    fs.lchownSync(path(parent, name), r.uid, r.gid);
    return look(parent, name);
  };

  return {
    lookup: (r, name) => tried(() => look(r.node, name)),
    forget(number, count) {
      const node = nodes.get(number);
      if (!node || number === 1) return;
      node.lookups -= count;
      if (node.lookups > 0) return;
      nodes.delete(number);
      for (const [key, n] of byInode) if (n === node) byInode.delete(key);
      fs.closeSync(node.fd);
    },
    getattr: (r) => tried(() => stat(r.node)),
    setattr: (r, c) =>
      tried(() => {
        const p = path(r.node);
        if (c.mode !== undefined) fs.chmodSync(p, c.mode & 0o7777);
        if (c.uid !== undefined || c.gid !== undefined) {
          const before = fs.fstatSync(at(r.node).fd);
          fs.chownSync(p, c.uid ?? before.uid, c.gid ?? before.gid);
        }
        if (c.size !== undefined) fs.truncateSync(p, c.size);
        if (c.atime || c.mtime) {
          const before = fs.fstatSync(at(r.node).fd);
          const time = (t: typeof c.atime, old: Date) =>
            t === 'now' ? new Date() : t ? t.sec + t.nsec / 1e9 : old;
          fs.utimesSync(p, time(c.atime, before.atime), time(c.mtime, before.mtime));
        }
        return stat(r.node);
      }),
    readlink: (r) => tried(() => fs.readlinkSync(path(r.node, ''), 'latin1')),
    symlink: (r, b) =>
      tried(() => {
        fs.symlinkSync(Buffer.from(b.target, 'latin1'), path(r.node, b.name));
        return own(r.node, b.name, r);
      }),
    mkdir: (r, b) =>
      tried(() => {
        fs.mkdirSync(path(r.node, b.name), b.mode);
        return own(r.node, b.name, r);
      }),
    unlink: (r, name) => done(() => fs.unlinkSync(path(r.node, name))),
    rmdir: (r, name) => done(() => fs.rmdirSync(path(r.node, name))),
    rename: (r, b) =>
      b.flags
        ? -errno.EINVAL
        : done(() => fs.renameSync(path(r.node, b.name), path(b.newParent, b.newName))),
    create: (r, b) =>
      tried(() => {
        const fd = fs.openSync(path(r.node, b.name), b.flags | fs.constants.O_CREAT, b.mode);
        fs.fchownSync(fd, r.uid, r.gid);
        const entry = look(r.node, b.name);
        return { ...entry, ...opened(at(entry.node), b.flags, fd) };
      }),
    open: (r, b) => tried(() => opened(at(r.node), b.flags)),
    read: (_, b) =>
      tried(() => {
        const data = Buffer.allocUnsafe(b.size);
        return data.subarray(0, fs.readSync(b.fh, data, 0, b.size, b.offset));
      }),
    write: (_, b) => tried(() => fs.writeSync(b.fh, b.data, 0, b.data.length, b.offset)),
    release(r, b) {
      const node = at(r.node);
      fs.closeSync(b.fh);
      if (--node.opens === 0 && node.backing > 0) {
        session()?.closeBacking(node.backing);
        node.backing = 0;
      }
      return 0;
    },
    fsync: (_, b) => done(() => fs.fsyncSync(b.fh)),
    readdir: (r, page) =>
      tried(() => {
        const list = fs.readdirSync(path(r.node), { encoding: 'latin1', withFileTypes: false });
        for (let i = page.offset; i < list.length; i++) {
          const name = list[i] as string;
          const s = fs.lstatSync(path(r.node, name), { throwIfNoEntry: false });
          if (s && !page.add({ name, ino: s.ino, mode: s.mode, nextOffset: i + 1 })) break;
        }
        return 0;
      }),
    statfs: () =>
      tried(() => {
        const s = fs.statfsSync(source);
        return {
          ...{ blocks: s.blocks, blocksFree: s.bfree, blocksAvailable: s.bavail },
          ...{ files: s.files, filesFree: s.ffree, blockSize: s.bsize, nameMax: 255 },
        };
      }),
  };
}
