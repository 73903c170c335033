// A file system in a folder of the machine. A lock on a file of it (flock) keeps servers apart: it ends with the
// process that has it, and no sooner. So a server that was paused cannot write after its successor. [flock(2)]
import * as fs from 'node:fs';
import { join } from 'node:path';
import { fail, ok } from '@ssi/contracts';
import koffi from 'koffi';
import type { Place } from '../ports.ts';
import { folderData } from './data.folder.ts';
import { fileJournal } from './journal.file.ts';

const flock = koffi.load(null).func('int flock(int fd, int operation)');
/** LOCK_EX | LOCK_NB */
const exclusiveNow = 2 | 4;

export const folderPlace = (folder: string): Place => ({
  take() {
    try {
      fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
      const fd = fs.openSync(join(folder, 'lock'), 'a', 0o600);
      if (flock(fd, exclusiveNow) !== 0) {
        fs.closeSync(fd);
        return fail('EAGAIN', `another server has ${folder}`);
      }
      const journal = fileJournal(join(folder, 'metadata'));
      const data = folderData(join(folder, 'data'));
      const leave = (): void => {
        data.close();
        journal.close();
        fs.closeSync(fd);
      };
      return ok({ journal, data, leave });
    } catch (error) {
      return fail('EIO', (error as Error).message);
    }
  },
});
