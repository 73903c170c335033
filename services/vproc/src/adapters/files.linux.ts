// The Images and MoveRecords ports: folders of image files and one JSON file a record, on the node's
// tmpfs. A record is written beside its place and renamed, so it is whole or not there. [rename(2)]
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { fail, ok, type Reply } from '@ssi/contracts';
import { errnoOf } from '@ssi/linux';
import type { Images, MoveRecords } from '../ports.ts';

const imageName = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

export function linuxImages(root: string): Images {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  return {
    create: async (moveId) =>
      attempt(() => {
        rmSync(`${root}/${moveId}`, { recursive: true, force: true });
        mkdirSync(`${root}/${moveId}`, { mode: 0o700 });
      }),
    write: async (moveId, { name, offset, data }) => {
      if (!imageName.test(name)) return fail('EINVAL', `not the name of an image: ${name}`);
      return attempt(() => {
        const fd = openSync(`${root}/${moveId}/${name}`, offset === 0 ? 'w' : 'r+', 0o600);
        try {
          for (let done = 0; done < data.length; )
            done += writeSync(fd, data, done, data.length - done, offset + done);
        } finally {
          closeSync(fd);
        }
      });
    },
    remove: async (moveId) =>
      orIo(attempt(() => rmSync(`${root}/${moveId}`, { recursive: true, force: true }))),
    list: async () => {
      try {
        return ok(readdirSync(root).sort());
      } catch (error) {
        return fail('EIO', (error as Error).message);
      }
    },
    freeBytes: async () => {
      const { bavail, bsize } = statfsSync(root);
      return bavail * bsize;
    },
  };
}

const recordFile = /^([0-9a-f]{32})\.json$/;

export function linuxRecords(root: string): MoveRecords {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  return {
    write: async (moveId, record) => {
      const beside = `${root}/${moveId}.new`;
      const written = attempt(() => {
        writeFileSync(beside, JSON.stringify(record), { mode: 0o600 });
        renameSync(beside, `${root}/${moveId}.json`);
      });
      if (!written.ok) attempt(() => rmSync(beside, { force: true }));
      return written;
    },
    list: async () => {
      try {
        return ok(
          readdirSync(root)
            .sort()
            .flatMap((name) => {
              const moveId = recordFile.exec(name)?.[1];
              if (!moveId) return [];
              return [{ moveId, record: JSON.parse(readFileSync(`${root}/${name}`, 'utf8')) }];
            }),
        );
      } catch (error) {
        return fail('EIO', (error as Error).message);
      }
    },
    remove: async (moveId) =>
      orIo(attempt(() => rmSync(`${root}/${moveId}.json`, { force: true }))),
  };
}

function attempt(act: () => void): Reply<undefined, 'ENOSPC' | 'EIO'> {
  try {
    act();
    return ok();
  } catch (error) {
    return fail(errnoOf(error) === 'ENOSPC' ? 'ENOSPC' : 'EIO', (error as Error).message);
  }
}

const orIo = (reply: Reply<undefined, 'ENOSPC' | 'EIO'>): Reply<undefined, 'EIO'> =>
  reply.ok ? reply : fail('EIO', reply.detail);
