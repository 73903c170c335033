// Names: which name in which directory is which inode, and the rules by which names come, go and move. Each
// function changes the tree it is given, or gives the errno and leaves it as it was; nothing else has a say
// (no clock, no chance), so that a log of mutations replays to the same tree. [path_resolution(7)]
import { type CfsErrno, type CfsMutation, fail, ok, type Reply } from '@ssi/contracts';
import type { LockTable } from '@ssi/fuse';
import {
  contentChanged,
  type Inode,
  isDirectory,
  linkMax,
  makeInode,
  makeRoot,
  type Time,
} from './inode.ts';

export interface Tree {
  readonly inodes: Map<number, Inode>;
  /** Of each directory that has a name. */
  readonly names: Map<number, Map<string, number>>;
  /** Of each inode that has some; flock(2)'s in a table of their own. By `lockKey`. */
  readonly locks: Map<string, LockTable>;
  next: number;
}

export const emptyTree = (at: Time): Tree => ({
  inodes: new Map([[1, makeRoot(at)]]),
  names: new Map([[1, new Map()]]),
  locks: new Map(),
  next: 2,
});

type Of<Op extends CfsMutation['op']> = Extract<CfsMutation, { op: Op }>;
/** The inode that it was about. */
export type Outcome = Reply<number, CfsErrno>;

interface Place {
  readonly directory: Inode;
  readonly names: Map<string, number>;
  readonly name: string;
}

/** A name's place; ENOENT: that directory is gone, ENOTDIR: it is none. */
function place(tree: Tree, parent: number, name: string): Reply<Place, 'ENOENT' | 'ENOTDIR'> {
  const directory = tree.inodes.get(parent);
  if (!directory) return fail('ENOENT', `no inode ${parent}`);
  const names = tree.names.get(parent);
  if (names) return ok({ directory, names, name });
  return isDirectory(directory)
    ? fail('ENOENT', `directory ${parent} is removed`)
    : fail('ENOTDIR', `${parent} is no directory`);
}

const at = (tree: Tree, p: Place): Inode | undefined => {
  const ino = p.names.get(p.name);
  return ino === undefined ? undefined : tree.inodes.get(ino);
};
const missing = (p: Place) => fail('ENOENT', `no name ${p.name} in ${p.directory.ino}`);
const taken = (p: Place) => fail('EEXIST', `name ${p.name} in ${p.directory.ino} is taken`);

export function make(tree: Tree, m: Of<'make'>): Outcome {
  const found = place(tree, m.parent, m.name);
  if (!found.ok) return found;
  const p = found.value;
  if (p.names.has(p.name)) return taken(p);
  const inode = makeInode(tree.next, m, p.directory);
  if (isDirectory(inode)) {
    if (p.directory.nlink >= linkMax) return fail('EMLINK', `${linkMax} links`);
    p.directory.nlink++;
    tree.names.set(inode.ino, new Map());
  }
  tree.next++;
  tree.inodes.set(inode.ino, m.client === undefined ? inode : { ...inode, openBy: [m.client] });
  p.names.set(p.name, inode.ino);
  contentChanged(p.directory, m.at);
  return ok(inode.ino);
}

export function tmpfile(tree: Tree, m: Of<'tmpfile'>): Outcome {
  const found = place(tree, m.parent, '');
  if (!found.ok) return found;
  const inode = makeInode(tree.next++, m, found.value.directory);
  tree.inodes.set(inode.ino, { ...inode, nlink: 0, openBy: [m.client], unnamed: true });
  return ok(inode.ino);
}

export function link(tree: Tree, m: Of<'link'>): Outcome {
  const inode = tree.inodes.get(m.ino);
  if (!inode || (inode.nlink === 0 && !inode.unnamed))
    return fail('ENOENT', `inode ${m.ino} has no name`);
  const found = place(tree, m.parent, m.name);
  if (!found.ok) return found;
  const p = found.value;
  if (p.names.has(p.name)) return taken(p);
  if (isDirectory(inode)) return fail('EPERM', `${m.ino} is a directory`);
  if (inode.nlink >= linkMax) return fail('EMLINK', `${linkMax} links`);
  p.names.set(p.name, inode.ino);
  inode.nlink++;
  delete inode.unnamed;
  inode.ctime = m.at;
  contentChanged(p.directory, m.at);
  return ok(inode.ino);
}

export function unlink(tree: Tree, m: Of<'unlink'>): Outcome {
  const found = place(tree, m.parent, m.name);
  if (!found.ok) return found;
  const inode = at(tree, found.value);
  if (!inode) return missing(found.value);
  if (isDirectory(inode)) return fail('EISDIR', `${m.name} is a directory`);
  remove(tree, found.value, inode, m.at);
  return ok(inode.ino);
}

export function rmdir(tree: Tree, m: Of<'rmdir'>): Outcome {
  const found = place(tree, m.parent, m.name);
  if (!found.ok) return found;
  const inode = at(tree, found.value);
  if (!inode) return missing(found.value);
  if (!isDirectory(inode)) return fail('ENOTDIR', `${m.name} is no directory`);
  if (!isEmpty(tree, inode)) return fail('ENOTEMPTY', `${m.name} has names in it`);
  remove(tree, found.value, inode, m.at);
  return ok(inode.ino);
}

const isEmpty = (tree: Tree, directory: Inode): boolean =>
  (tree.names.get(directory.ino)?.size ?? 0) === 0;

function remove(tree: Tree, p: Place, inode: Inode, time: Time): void {
  p.names.delete(p.name);
  if (isDirectory(inode)) {
    inode.nlink = 0;
    p.directory.nlink--;
    tree.names.delete(inode.ino);
  } else inode.nlink--;
  inode.ctime = time;
  contentChanged(p.directory, time);
  collect(tree, inode);
}

export const lockKey = (l: { readonly ino: number; readonly flock: boolean }): string =>
  `${l.flock ? 'flock' : 'posix'}:${l.ino}`;

/** An inode with neither name nor anybody who has it open is gone for good. */
export function collect(tree: Tree, inode: Inode): void {
  if (inode.nlink === 0 && inode.openBy.length === 0) tree.inodes.delete(inode.ino);
  else return;
  for (const flock of [true, false]) tree.locks.delete(lockKey({ ino: inode.ino, flock }));
}

/** Whether a directory lies below inode `above`, or is it. */
function isWithin(tree: Tree, directory: Inode, above: number): boolean {
  for (let d: Inode | undefined = directory; d; d = tree.inodes.get(d.parent)) {
    if (d.ino === above) return true;
    if (d.parent === d.ino) return false;
  }
  return false;
}

export function rename(tree: Tree, m: Of<'rename'>): Outcome {
  const from = place(tree, m.parent, m.name);
  if (!from.ok) return from;
  const to = place(tree, m.newParent, m.newName);
  if (!to.ok) return to;
  const inode = at(tree, from.value);
  if (!inode) return missing(from.value);
  const target = at(tree, to.value);
  if (target && m.how === 'noReplace') return taken(to.value);
  if (isWithin(tree, to.value.directory, inode.ino))
    return fail('EINVAL', `${m.name} would lie within itself`);
  if (m.how === 'exchange') {
    if (!target) return missing(to.value);
    if (isWithin(tree, from.value.directory, target.ino))
      return fail('EINVAL', `${m.newName} would lie within itself`);
    move(inode, from.value, to.value, m.at);
    move(target, to.value, from.value, m.at);
    return ok(inode.ino);
  }
  // The other way round: the target holds what is moved, so it is a directory with names in it.
  if (target && isWithin(tree, from.value.directory, target.ino))
    return fail('ENOTEMPTY', `${m.newName} holds ${m.name}`);
  if (target === inode) return ok(inode.ino);
  if (target) {
    if (isDirectory(target) && !isDirectory(inode))
      return fail('EISDIR', `${m.newName} is a directory`);
    if (!isDirectory(target) && isDirectory(inode))
      return fail('ENOTDIR', `${m.newName} is no directory`);
    if (isDirectory(target) && !isEmpty(tree, target))
      return fail('ENOTEMPTY', `${m.newName} has names in it`);
    remove(tree, to.value, target, m.at);
  }
  from.value.names.delete(m.name);
  move(inode, from.value, to.value, m.at);
  return ok(inode.ino);
}

function move(inode: Inode, from: Place, to: Place, time: Time): void {
  to.names.set(to.name, inode.ino);
  if (isDirectory(inode) && from.directory !== to.directory) {
    inode.parent = to.directory.ino;
    from.directory.nlink--;
    to.directory.nlink++;
  }
  inode.ctime = time;
  contentChanged(from.directory, time);
  contentChanged(to.directory, time);
}
