// The record as a file in the node's folder (tmpfs), replaced by rename so that it is there whole.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { IdRecord } from '../ports.ts';

/** Throws where the file is there but cannot be read: ids that were given out must not come again. */
export function fileIdRecord(dir: string): IdRecord {
  const path = join(dir, 'last-id');
  return {
    async load() {
      const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return '0';
        throw error;
      });
      const id = Number(text);
      if (!Number.isSafeInteger(id)) throw new Error(`EBADMSG ${path}: no id`);
      return id;
    },
    async save(id) {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      await writeFile(`${path}.new`, String(id));
      await rename(`${path}.new`, path);
    },
  };
}
