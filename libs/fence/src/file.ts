// A fence for files: the newest token in a file beside the data, both changed under flock, so that one
// process at a time compares and writes; data is replaced by rename, so that a reader sees all or nothing.
// The lock lasts microseconds and ends with its process. [flock(2), rename(2)]
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { ok, type Reply } from '@ssi/contracts';
import koffi from 'koffi';
import { type Fence, noToken, padded, stale, tokenDigits } from './fence.ts';

const flock = koffi.load(null).func('int flock(int fd, int operation)');
const lockExclusive = 2;

export interface FencedFile extends Fence {
  /** Replaces the file `resource` (a path). */
  write(
    resource: string,
    token: string,
    data: string | Uint8Array,
  ): Promise<Reply<undefined, 'ESTALE' | 'EINVAL'>>;
}

export function fencedFile(): FencedFile {
  const run = async (path: string, token: string, data?: string | Uint8Array) => {
    const text = padded(token);
    if (!text) return noToken(token);
    const fd = openSync(`${path}.fence`, 'a+', 0o600);
    try {
      if (flock(fd, lockExclusive) !== 0) throw new Error(`${path}.fence: cannot be locked`);
      // Appended, never rewritten: a crash leaves the last whole line.
      const lines = readFileSync(`${path}.fence`, 'utf8').split('\n');
      const whole = lines.filter((line) => line.length === tokenDigits);
      const newest = whole.sort().at(-1) ?? '';
      if (newest > text) return stale(path, token);
      if (newest !== text) {
        writeSync(fd, `${lines.at(-1) === '' ? '' : '\n'}${text}\n`);
        fsyncSync(fd);
      }
      if (data !== undefined) replace(path, data);
      return ok();
    } finally {
      closeSync(fd);
    }
  };
  return {
    check: (resource, token) => run(resource, token),
    write: (resource, token, data) => run(resource, token, data),
  };
}

function replace(path: string, data: string | Uint8Array): void {
  const fd = openSync(`${path}.new`, 'w', 0o600);
  try {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(`${path}.new`, path);
}
