// The sessions as empty files in a folder of the node (tmpfs): SESSION.BOOT.
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RecordedSession, SessionRecord } from '../ports.ts';

export function fileSessionRecord(dir: string): SessionRecord {
  const path = ({ session, boot }: RecordedSession): string => join(dir, `${session}.${boot}`);
  return {
    async all() {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      return (await readdir(dir)).map((name) => {
        const [session = '', boot = ''] = name.split('.');
        return { session, boot: Number(boot) };
      });
    },
    add: (one) => writeFile(path(one), ''),
    // One that stays behind is over when nobody resumes it.
    remove: (one) => void rm(path(one), { force: true }).catch(() => {}),
  };
}
