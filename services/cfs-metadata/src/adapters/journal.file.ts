// A journal as two files of a folder: `log`, written behind its end, and `snapshot`, replaced by rename.
import * as fs from 'node:fs';
import { join } from 'node:path';
import { fail, ok, type Reply } from '@ssi/contracts';
import type { Journal, JournalErrno } from '../ports.ts';

const tried = (work: () => void): Reply<undefined, JournalErrno> => {
  try {
    work();
    return ok();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const full = code === 'ENOSPC' || code === 'EDQUOT';
    return fail(full ? 'ENOSPC' : 'EIO', message);
  }
};

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += fs.writeSync(fd, bytes, at, bytes.length - at);
}

/** Throws where the folder can't be used. One server at a time: that is the caller's to see to. */
export function fileJournal(folder: string): Journal & { close(): void } {
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const paths = { log: join(folder, 'log'), snapshot: join(folder, 'snapshot') };
  const log = fs.openSync(paths.log, 'a+', 0o600);
  const syncFolder = (): void => {
    const fd = fs.openSync(folder, 'r');
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  };
  return {
    read() {
      const has = fs.existsSync(paths.snapshot);
      return {
        snapshot: has ? fs.readFileSync(paths.snapshot) : new Uint8Array(0),
        log: fs.readFileSync(paths.log),
      };
    },
    append: (bytes) => tried(() => writeAll(log, bytes)),
    sync: () => tried(() => fs.fdatasyncSync(log)),
    truncate: (length) => tried(() => fs.ftruncateSync(log, length)),
    snapshot: (bytes) =>
      tried(() => {
        const fd = fs.openSync(`${paths.snapshot}.new`, 'w', 0o600);
        try {
          writeAll(fd, bytes);
          fs.fsyncSync(fd);
        } finally {
          fs.closeSync(fd);
        }
        fs.renameSync(`${paths.snapshot}.new`, paths.snapshot);
        syncFolder();
        fs.ftruncateSync(log, 0);
      }),
    close: () => fs.closeSync(log),
  };
}
