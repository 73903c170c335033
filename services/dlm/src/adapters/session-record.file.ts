// The sessions as empty files in a folder of the node (tmpfs).
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SessionRecord } from '../ports.ts';

export function fileSessionRecord(dir: string): SessionRecord {
  return {
    async all() {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      return readdir(dir);
    },
    add: (session) => writeFile(join(dir, session), ''),
    // One that stays behind is over when nobody resumes it.
    remove: (session) => void rm(join(dir, session), { force: true }).catch(() => {}),
  };
}
