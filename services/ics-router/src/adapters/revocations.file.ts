// Revocations in a file of the node: written beside, synced, renamed; a torn file is never seen.
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { fail, ok } from '@ssi/contracts';
import { z } from 'zod';
import type { RevocationStore } from '../ports.ts';

const words = z.array(z.string());

export function fileRevocations(path: string): RevocationStore {
  return {
    load: () => {
      try {
        return words.parse(JSON.parse(readFileSync(path, 'utf8')));
      } catch {
        return []; // Nothing was revoked yet, or it is lost: the other routers tell.
      }
    },
    save: (list) => {
      try {
        mkdirSync(dirname(path), { recursive: true });
        const file = openSync(`${path}.tmp`, 'w', 0o600);
        writeFileSync(file, JSON.stringify(list));
        fsyncSync(file);
        closeSync(file);
        renameSync(`${path}.tmp`, path);
        return ok();
      } catch (error) {
        return fail('EIO', String(error));
      }
    },
  };
}
