// Data of a `served` file system: one file for each inode, in a folder of the server's own file system. Open
// descriptors are kept, a bounded number of them.
import * as fs from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '@ssi/fuse';
import { allocate, punchHole, seek } from '@ssi/linux';
import type { Data } from '../ports.ts';

const openMax = 256;

export function folderData(folder: string): Data {
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  /** By inode, the one that was used longest ago first. */
  const open = new Map<number, number>();
  const path = (ino: number): string => join(folder, String(ino));
  const close = (ino: number): void => {
    const fd = open.get(ino);
    if (fd !== undefined) fs.closeSync(fd);
    open.delete(ino);
  };
  const use = (ino: number): number => {
    const fd =
      open.get(ino) ?? fs.openSync(path(ino), fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
    open.delete(ino);
    open.set(ino, fd);
    const [oldest] = open.keys();
    if (open.size > openMax && oldest !== undefined) close(oldest);
    return fd;
  };
  const tried = <T>(work: () => T): T | number => {
    try {
      return work();
    } catch (error) {
      return errnoOf(error);
    }
  };
  const done = (work: () => void): number => {
    const result = tried(work);
    return typeof result === 'number' ? result : 0;
  };
  return {
    read: (ino, offset, size) =>
      tried(() => {
        const bytes = Buffer.allocUnsafe(size);
        return bytes.subarray(0, fs.readSync(use(ino), bytes, 0, size, offset));
      }),
    write: (ino, offset, bytes) =>
      tried(() => fs.writeSync(use(ino), bytes, 0, bytes.length, offset)),
    truncate: (ino, size) => done(() => fs.ftruncateSync(use(ino), size)),
    allocate: (ino, offset, length) => tried(() => allocate(use(ino), offset, length)),
    punch: (ino, offset, length) => tried(() => punchHole(use(ino), offset, length)),
    seek: (ino, offset, what) => tried(() => seek(use(ino), offset, what)),
    sync: (ino) => done(() => fs.fdatasyncSync(use(ino))),
    remove(ino) {
      close(ino);
      fs.rmSync(path(ino), { force: true });
    },
    list: () => fs.readdirSync(folder).map(Number),
    room: () =>
      tried(() => {
        const s = fs.statfsSync(folder);
        return {
          ...{ blocks: s.blocks, blocksFree: s.bfree, blocksAvailable: s.bavail },
          ...{ files: s.files, filesFree: s.ffree, blockSize: s.bsize, nameMax: 255 },
        };
      }),
    close: () => {
      for (const ino of [...open.keys()]) close(ino);
    },
  };
}
