// Which files a tree has open, mapped, or as its working directory: they must be at the target, by path.
// criu itself compares sizes only, so what is mapped as code goes with a digest. [facts of criu(8)]
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import type { NeededFile, StreamPaths } from '../ports.ts';
import type { Descriptor } from './descriptors.ts';
import type { FileDigests } from './file-digests.ts';
import { cfsMounts } from './proc-tables.ts';

/** Where every node has its own, made anew: nothing to compare. */
const ownOfNode = /^\/(proc|sys|dev)(\/|$)/;
const deleted = / \(deleted\)$/;
const accessMode = 3; // O_ACCMODE: 0 reads only

export const isBelow = (mounts: readonly string[], path: string): boolean =>
  mounts.some((mount) => path === mount || path.startsWith(`${mount}/`));

/** A size of -1: it need only be there, for the program changes it. */
export async function neededFiles(
  tree: readonly number[],
  descriptors: ReadonlyMap<number, readonly Descriptor[]>,
  streams: StreamPaths | undefined,
  digests: FileDigests | undefined,
): Promise<NeededFile[]> {
  const own = new Set<string>(streams ? Object.values(streams) : []);
  const found = new Map<string, { code: boolean; anySize: boolean }>();
  const note = (path: string, what: { code?: boolean; anySize?: boolean }): void => {
    if (!path.startsWith('/') || ownOfNode.test(path) || deleted.test(path) || own.has(path))
      return;
    const before = found.get(path);
    found.set(path, {
      code: before?.code === true || what.code === true,
      anySize: before?.anySize === true || what.anySize === true,
    });
  };
  for (const pid of tree) {
    for (const name of ['cwd', 'root']) note(linkOr(`/proc/${pid}/${name}`), { anySize: true });
    note(linkOr(`/proc/${pid}/exe`), { code: true });
    for (const { path, code } of mappedFiles(pid)) note(path, { code });
    for (const { link, flags } of descriptors.get(pid) ?? [])
      note(link, { anySize: (flags & accessMode) !== 0 });
  }
  const cfs = cfsMounts();
  const files: NeededFile[] = [];
  for (const [path, { code, anySize }] of [...found].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (isBelow(cfs, path)) {
      files.push({ path, sizeBytes: -1 });
      continue;
    }
    const stat = statSync(path, { throwIfNoEntry: false });
    const sizeBytes = stat?.isFile() && !anySize ? stat.size : -1;
    const digest = code && digests ? await digests.of(path) : undefined;
    files.push({ path, sizeBytes, ...(digest ? { digest } : {}) });
  }
  return files;
}

function mappedFiles(pid: number): { path: string; code: boolean }[] {
  return readOr(`/proc/${pid}/maps`)
    .split('\n')
    .flatMap((line) => {
      const match = /^\S+ (\S{4}) \S+ \S+ \d+\s+(\/.*)$/.exec(line);
      const [, mode = '', path = ''] = match ?? [];
      return path === '' || path.startsWith('/memfd:') || path.startsWith('/SYSV')
        ? []
        : [{ path, code: mode[2] === 'x' }];
    });
}

function linkOr(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
