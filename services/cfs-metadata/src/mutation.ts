// One mutation applied to a tree: the whole of what the log's records do. [libs/contracts: cfs.ts]
import { type CfsLock, type CfsMutation, fail, ok } from '@ssi/contracts';
import { type Lock, LockTable } from '@ssi/fuse';
import * as dentry from './dentry.ts';
import { changeAttributes, isDirectory, sizeMax } from './inode.ts';

type Of<Op extends CfsMutation['op']> = Extract<CfsMutation, { op: Op }>;

export function apply(tree: dentry.Tree, m: CfsMutation): dentry.Outcome {
  switch (m.op) {
    case 'make':
      return dentry.make(tree, m);
    case 'tmpfile':
      return dentry.tmpfile(tree, m);
    case 'link':
      return dentry.link(tree, m);
    case 'unlink':
      return dentry.unlink(tree, m);
    case 'rmdir':
      return dentry.rmdir(tree, m);
    case 'rename':
      return dentry.rename(tree, m);
    case 'setattr':
      return setattr(tree, m);
    case 'xattr':
      return setXattr(tree, m);
    case 'open':
    case 'release':
      return setOpen(tree, m);
    case 'lock':
      return setLock(tree, m);
    case 'forget':
      return forget(tree, m.client);
  }
}

const gone = (ino: number) => fail('ENOENT', `no inode ${ino}`);

function setattr(tree: dentry.Tree, m: Of<'setattr'>): dentry.Outcome {
  const inode = tree.inodes.get(m.ino);
  if (!inode) return gone(m.ino);
  if (m.size !== undefined && isDirectory(inode)) return fail('EISDIR', 'a directory has no size');
  if (m.size !== undefined && m.size > sizeMax)
    return fail('EFBIG', `longer than ${sizeMax} bytes`);
  changeAttributes(inode, m);
  return ok(inode.ino);
}

function setXattr(tree: dentry.Tree, m: Of<'xattr'>): dentry.Outcome {
  const inode = tree.inodes.get(m.ino);
  if (!inode) return gone(m.ino);
  const has = Object.hasOwn(inode.xattrs, m.name);
  if (has && m.how === 'create') return fail('EEXIST', `${m.name} is there`);
  if (!has && (m.how === 'replace' || m.value === undefined))
    return fail('ENODATA', `no attribute ${m.name}`);
  const { [m.name]: _, ...others } = inode.xattrs;
  inode.xattrs = m.value === undefined ? others : { ...others, [m.name]: m.value };
  inode.ctime = m.at;
  return ok(inode.ino);
}

function setOpen(tree: dentry.Tree, m: Of<'open' | 'release'>): dentry.Outcome {
  const inode = tree.inodes.get(m.ino);
  if (!inode) return gone(m.ino);
  if (m.op === 'open') inode.openBy = [...inode.openBy, m.client].sort();
  else {
    const i = inode.openBy.indexOf(m.client);
    if (i < 0) return fail('EINVAL', `${m.client} has ${m.ino} not open`);
    inode.openBy = inode.openBy.toSpliced(i, 1);
    dentry.collect(tree, inode);
  }
  return ok(inode.ino);
}

const ownerOf = (client: string, owner: string): string => `${client} ${owner}`;

const lockOf = (l: CfsLock): Lock => ({
  ...{ owner: ownerOf(l.client, l.owner), start: l.start, end: l.end ?? Number.POSITIVE_INFINITY },
  ...{ type: l.type, pid: l.pid, fh: 0 },
});

/** The lock of somebody else that is in the way. */
export const lockHolder = (tree: dentry.Tree, l: CfsLock): Lock | undefined =>
  tree.locks.get(dentry.lockKey(l))?.conflict(lockOf(l));

function setLock(tree: dentry.Tree, m: Of<'lock'>): dentry.Outcome {
  if (!tree.inodes.has(m.ino)) return gone(m.ino);
  const key = dentry.lockKey(m);
  const table = tree.locks.get(key) ?? new LockTable();
  const done = table.set(lockOf(m));
  if (table.held.length > 0) tree.locks.set(key, table);
  else tree.locks.delete(key);
  return done === 0 ? ok(m.ino) : fail('EACCES', 'a lock of another is in the way');
}

function forget(tree: dentry.Tree, client: string): dentry.Outcome {
  for (const inode of [...tree.inodes.values()]) {
    if (!inode.openBy.includes(client)) continue;
    inode.openBy = inode.openBy.filter((c) => c !== client);
    dentry.collect(tree, inode);
  }
  for (const [key, table] of [...tree.locks]) {
    table.drop((l) => String(l.owner).startsWith(ownerOf(client, '')));
    if (table.held.length === 0) tree.locks.delete(key);
  }
  return ok(1);
}
