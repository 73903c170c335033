// The rules of names against this machine's own file system: random operations on both, the same answers, and
// in the end the same tree.
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CfsMutation } from '@ssi/contracts';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { apply, emptyTree, type Tree } from '../src/index.ts';

const time: [number, number] = [1, 0];
const root = fs.mkdtempSync(join(tmpdir(), 'ssi-cfs-oracle-'));
afterAll(() => fs.rmSync(root, { recursive: true }));

const path = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 });
const step = fc.oneof(
  fc.record({ kind: fc.constantFrom('create', 'mkdir', 'symlink', 'unlink', 'rmdir'), path }),
  fc.record({ kind: fc.constantFrom('rename', 'rename', 'link'), path, to: path }),
  fc.record({ kind: fc.constant('chmod'), path, mode: fc.integer({ min: 0, max: 0o7777 }) }),
);
type Step = { kind: string; path: string[]; to?: string[]; mode?: number };

/** What an errno of node:fs says, or 'ok'. */
function real(folder: string, s: Step): string {
  const at = join(folder, ...s.path);
  const to = join(folder, ...(s.to ?? []));
  const calls: Record<string, () => void> = {
    create: () => fs.closeSync(fs.openSync(at, 'wx', 0o600)),
    mkdir: () => fs.mkdirSync(at, 0o700),
    symlink: () => fs.symlinkSync('x', at),
    unlink: () => fs.unlinkSync(at),
    rmdir: () => fs.rmdirSync(at),
    rename: () => fs.renameSync(at, to),
    link: () => fs.linkSync(at, to),
    chmod: () => {
      if (fs.lstatSync(at).isSymbolicLink()) throw Object.assign(new Error(), { code: 'LINK' });
      fs.chmodSync(at, s.mode ?? 0);
    },
  };
  try {
    calls[s.kind]?.();
    return 'ok';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown';
  }
}

type Walked = { readonly parent: number; readonly name: string } | string;

/** As the kernel resolves a path before it asks the file system: the last name is left. */
function walk(tree: Tree, names: readonly string[]): Walked {
  let parent = 1;
  for (const name of names.slice(0, -1)) {
    const ino = tree.names.get(parent)?.get(name);
    if (ino === undefined) return 'ENOENT';
    const type = (tree.inodes.get(ino)?.mode ?? 0) & 0o170000;
    // The links of this test point nowhere.
    if (type === 0o120000) return 'ENOENT';
    if (type !== 0o040000) return 'ENOTDIR';
    parent = ino;
  }
  return { parent, name: names.at(-1) ?? '' };
}

function ours(tree: Tree, s: Step): string {
  const asked = { at: time, uid: 0, gid: 0 };
  const from = walk(tree, s.path);
  if (typeof from === 'string') return from;
  const ino = tree.names.get(from.parent)?.get(from.name);
  const done = (m: CfsMutation): string => {
    const reply = apply(tree, m);
    return reply.ok ? 'ok' : reply.errno;
  };
  const modes: Record<string, number> = {
    create: 0o100600,
    mkdir: 0o040700,
    symlink: 0o120777,
  };
  switch (s.kind) {
    case 'unlink':
    case 'rmdir':
      return done({ op: s.kind, ...asked, ...from });
    case 'rename': {
      const to = walk(tree, s.to ?? []);
      if (typeof to === 'string') return to;
      const target = { newParent: to.parent, newName: to.name, how: 'replace' as const };
      return done({ op: 'rename', ...asked, ...from, ...target });
    }
    case 'link': {
      if (ino === undefined) return 'ENOENT';
      const to = walk(tree, s.to ?? []);
      return typeof to === 'string' ? to : done({ op: 'link', ...asked, ...to, ino });
    }
    case 'chmod': {
      if (ino === undefined) return 'ENOENT';
      if (((tree.inodes.get(ino)?.mode ?? 0) & 0o170000) === 0o120000) return 'LINK';
      return done({ op: 'setattr', ...asked, ino, mode: s.mode ?? 0 });
    }
    default: {
      const target = s.kind === 'symlink' ? { target: 'x' } : {};
      return done({ op: 'make', ...asked, ...from, mode: modes[s.kind] ?? 0, ...target });
    }
  }
}

/** Path -> what stat tells, without times. */
function realTree(folder: string, below = ''): string[] {
  const entries = fs.readdirSync(join(folder, below)).sort();
  return entries.flatMap((name) => {
    const at = join(below, name);
    const s = fs.lstatSync(join(folder, at));
    const line = `${at} ${s.mode.toString(8)} ${s.nlink}`;
    return s.isDirectory() ? [line, ...realTree(folder, at)] : [line];
  });
}
function ourTree(tree: Tree, ino = 1, below = ''): string[] {
  const entries = [...(tree.names.get(ino) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.flatMap(([name, child]) => {
    const at = join(below, name);
    const inode = tree.inodes.get(child);
    const line = `${at} ${inode?.mode.toString(8)} ${inode?.nlink}`;
    return tree.names.has(child) ? [line, ...ourTree(tree, child, at)] : [line];
  });
}

describe('CFS: names: as the machine itself', () => {
  test('random operations end alike, and leave the same tree', () => {
    let run = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
        const folder = join(root, String(run++));
        fs.mkdirSync(folder);
        const tree = emptyTree(time);
        for (const [i, s] of steps.entries())
          expect(`${i} ${JSON.stringify(s)} ${ours(tree, s)}`).toBe(
            `${i} ${JSON.stringify(s)} ${real(folder, s)}`,
          );
        expect(ourTree(tree)).toEqual(realTree(folder));
      }),
      { numRuns: 100 },
    );
  });
});
