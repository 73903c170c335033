// The record as a file in the node's folder (tmpfs), replaced by rename so that it is there whole.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { TokenRecord } from '../ports.ts';

const reserved = z.object({ transid: z.int().min(0), n: z.int().min(0), starts: z.int().min(0) });

/** Throws where the file is there but cannot be read: tokens that were given out must not come again. */
export function fileTokenRecord(dir: string): TokenRecord {
  const path = join(dir, 'tokens.json');
  return {
    async load() {
      const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      });
      return text === undefined ? undefined : reserved.parse(JSON.parse(text));
    },
    async save(value) {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      await writeFile(`${path}.new`, JSON.stringify(value));
      await rename(`${path}.new`, path);
    },
  };
}
