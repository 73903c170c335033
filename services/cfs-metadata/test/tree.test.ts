// What must hold of every tree, whatever was done to it; and the rules that the machine's own calls can't show.
import type { CfsMutation } from '@ssi/contracts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { apply, emptyTree, linkMax, sizeMax, type Tree } from '../src/index.ts';
import { anyMutation } from './mutations.ts';

const asked = { at: [5, 0] as [number, number], uid: 1, gid: 2 };
const file = 0o100644;
const directory = 0o040755;

function make(tree: Tree, parent: number, name: string, mode: number): number {
  const made = apply(tree, { op: 'make', ...asked, parent, name, mode });
  if (!made.ok) throw new Error(made.detail);
  return made.value;
}
const errnoOf = (tree: Tree, m: CfsMutation): string => {
  const reply = apply(tree, m);
  return reply.ok ? 'ok' : reply.errno;
};

/** Link counts, parents and reachability, counted anew from the names. */
function faults(tree: Tree): string[] {
  const found: string[] = [];
  const links = new Map<number, number>([[1, 2]]);
  for (const [parent, names] of tree.names)
    for (const child of names.values()) {
      const inode = tree.inodes.get(child);
      if (!inode) found.push(`name for missing inode ${child}`);
      const isDir = tree.names.has(child);
      if (isDir && inode?.parent !== parent)
        found.push(`${child} believes in parent ${inode?.parent}`);
      links.set(child, (links.get(child) ?? 0) + (isDir ? 2 : 1));
      if (isDir) links.set(parent, (links.get(parent) ?? 0) + 1);
    }
  for (const inode of tree.inodes.values()) {
    const counted = links.get(inode.ino) ?? 0;
    if (counted !== inode.nlink)
      found.push(`${inode.ino}: nlink ${inode.nlink}, counted ${counted}`);
    if (counted === 0 && inode.openBy.length === 0) found.push(`${inode.ino} is left over`);
  }
  for (const ino of tree.names.keys()) {
    let at = ino;
    for (let depth = 0; at !== 1 && depth < 100; depth++) at = tree.inodes.get(at)?.parent ?? 0;
    if (at !== 1) found.push(`directory ${ino} hangs in the air`);
  }
  return found;
}

describe('CFS: names', () => {
  test('link counts, parents and what is kept are right after any mutations', () => {
    fc.assert(
      fc.property(fc.array(anyMutation, { maxLength: 80 }), (list) => {
        const tree = emptyTree([0, 0]);
        for (const m of list) apply(tree, m);
        expect(faults(tree)).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test('a mutation that fails has changed nothing', () => {
    fc.assert(
      fc.property(fc.array(anyMutation, { maxLength: 40 }), (list) => {
        const tree = emptyTree([0, 0]);
        for (const m of list) {
          const before = structuredClone(tree);
          if (!apply(tree, m).ok) expect(tree).toEqual(before);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('a file that is open outlives its last name, until the last who has it open lets go', () => {
    const tree = emptyTree([0, 0]);
    const ino = make(tree, 1, 'a', file);
    for (const client of ['n1', 'n1', 'n2']) apply(tree, { op: 'open', ...asked, ino, client });
    apply(tree, { op: 'unlink', ...asked, parent: 1, name: 'a' });
    expect(tree.inodes.get(ino)).toMatchObject({ nlink: 0, openBy: ['n1', 'n1', 'n2'] });
    expect(errnoOf(tree, { op: 'link', ...asked, parent: 1, name: 'b', ino })).toBe('ENOENT');
    apply(tree, { op: 'forget', ...asked, client: 'n1' });
    expect(tree.inodes.has(ino)).toBe(true);
    expect(errnoOf(tree, { op: 'release', ...asked, ino, client: 'n1' })).toBe('EINVAL');
    apply(tree, { op: 'release', ...asked, ino, client: 'n2' });
    expect(tree.inodes.has(ino)).toBe(false);
  });

  test('rename: no replacing, exchanging, and never a directory within itself', () => {
    const tree = emptyTree([0, 0]);
    const d = make(tree, 1, 'd', directory);
    const e = make(tree, d, 'e', directory);
    const f = make(tree, 1, 'f', file);
    const rename = (from: [number, string], to: [number, string], how: 'noReplace' | 'exchange') =>
      errnoOf(tree, {
        ...{ op: 'rename', ...asked, parent: from[0], name: from[1], how },
        ...{ newParent: to[0], newName: to[1] },
      } as CfsMutation);
    expect(rename([1, 'f'], [1, 'd'], 'noReplace')).toBe('EEXIST');
    expect(rename([1, 'd'], [e, 'x'], 'noReplace')).toBe('EINVAL');
    expect(rename([d, 'e'], [1, 'd'], 'exchange')).toBe('EINVAL');
    expect(rename([1, 'f'], [1, 'g'], 'exchange')).toBe('ENOENT');
    expect(rename([1, 'f'], [d, 'e'], 'exchange')).toBe('ok');
    expect([tree.names.get(1)?.get('f'), tree.names.get(d)?.get('e')]).toEqual([e, f]);
    expect([tree.inodes.get(1)?.nlink, tree.inodes.get(d)?.nlink]).toEqual([4, 2]);
    expect(faults(tree)).toEqual([]);
  });

  test('group and set-id bits: inherited in a directory, lost with the owner', () => {
    const tree = emptyTree([0, 0]);
    const d = make(tree, 1, 'd', 0o042755);
    apply(tree, { op: 'setattr', ...asked, ino: d, group: 77 });
    expect(tree.inodes.get(make(tree, d, 'sub', directory))).toMatchObject({
      gid: 77,
      mode: 0o042755,
    });
    const ino = make(tree, d, 'f', 0o106755);
    apply(tree, { op: 'setattr', ...asked, ino, owner: 9 });
    expect(tree.inodes.get(ino)).toMatchObject({ gid: 77, uid: 9, mode: 0o100755 });
  });

  test('limits and wrong kinds are errnos', () => {
    const tree = emptyTree([0, 0]);
    const ino = make(tree, 1, 'f', file);
    const set = (size: number, which: number) =>
      errnoOf(tree, { op: 'setattr', ...asked, ino: which, size });
    expect([set(sizeMax, ino), set(sizeMax + 1, ino), set(1, 1), set(1, 99)]).toEqual([
      ...['ok', 'EFBIG', 'EISDIR', 'ENOENT'],
    ]);
    const inode = tree.inodes.get(ino);
    if (inode) inode.nlink = linkMax;
    expect(errnoOf(tree, { op: 'link', ...asked, parent: 1, name: 'g', ino })).toBe('EMLINK');
    expect(errnoOf(tree, { op: 'link', ...asked, parent: 1, name: 'g', ino: 1 })).toBe('EPERM');
    expect(errnoOf(tree, { op: 'unlink', ...asked, parent: ino, name: 'g' })).toBe('ENOTDIR');
    const xattr = { op: 'xattr', ...asked, ino, name: 'user.a' } as const;
    expect(errnoOf(tree, { ...xattr, how: 'any' })).toBe('ENODATA');
    expect(errnoOf(tree, { ...xattr, how: 'create', value: new Uint8Array(1) })).toBe('ok');
    expect(errnoOf(tree, { ...xattr, how: 'create', value: new Uint8Array(1) })).toBe('EEXIST');
  });
});
