// The kept table as a file of the node's disk: written beside, synced, renamed; a torn one is never seen.
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { directorTable, fail, ok, tableVersion } from '@ssi/contracts';
import { z } from 'zod';
import type { TableStore } from '../ports.ts';

const kept = z.object({ version: tableVersion, table: directorTable });

/** `load` throws where the file is there but is none: a table that was acknowledged must not be forgotten unseen. */
export const fileTableStore = (path: string): TableStore => ({
  async load() {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    return text === undefined ? undefined : kept.parse(JSON.parse(text));
  },
  async save(value) {
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      const file = await open(`${path}.new`, 'w', 0o600);
      try {
        await file.writeFile(JSON.stringify(value));
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(`${path}.new`, path);
      return ok();
    } catch (error) {
      return fail('EIO', `${path}: ${String(error)}`);
    }
  },
});
