// The kernel's requests about open files: opens and closes are told to the server, so that a file outlives its
// last name. Nothing goes through the page cache: what one node writes the next read of another sees.
import {
  type Entry,
  errno,
  type Filesystem,
  fallocateFlag,
  fileType,
  openFlag,
  type Request,
  seekWhence,
} from '@ssi/fuse';
import type { Client } from './client.ts';

const append = 0o2000;
const truncate = 0o1000;
/** bytes: as the server has it. */
const sizeMax = 2 ** 43;
const flags = openFlag.DIRECT_IO;

/** undefined: no such way here. */
function allocateHow(mode: number): 'grow' | 'keep' | 'zero' | 'punch' | undefined {
  const { KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE } = fallocateFlag;
  if (mode === 0) return 'grow';
  if (mode === KEEP_SIZE) return 'keep';
  if (mode === (PUNCH_HOLE | KEEP_SIZE)) return 'punch';
  return mode === (ZERO_RANGE | KEEP_SIZE) ? 'zero' : undefined;
}

export function fileOperations(
  c: Client,
  /** Locks of an open file go with it. */
  released: (r: Request, owner: bigint) => Promise<void>,
): Filesystem {
  const { server } = c;
  const open = (r: Request, ino: number) => c.change(r, { op: 'open', ino, client: c.name });
  const opened = (entry: Entry | number) =>
    typeof entry === 'number' ? entry : { ...entry, flags };
  return {
    async create(r, { name, mode }) {
      const made = { name, mode: fileType.REGULAR | (mode & 0o7777), client: c.name };
      return opened(await c.make(r, made));
    },
    async tmpfile(r, { mode }) {
      const made = { parent: r.node, mode: fileType.REGULAR | (mode & 0o7777), client: c.name };
      return opened(await c.entryAfter(r, { op: 'tmpfile', ...made }));
    },
    async open(r, { flags: how, killSuidGid }) {
      const done = await open(r, r.node);
      if (done < 0) return done;
      if (how & truncate) {
        const cut = await cutOff(r, killSuidGid);
        if (cut < 0) {
          await c.change(r, { op: 'release', ino: r.node, client: c.name });
          return cut;
        }
      }
      return { flags };
    },
    async read(r, { offset, size }) {
      const done = await server.read(r.node, offset, size);
      return done.ok ? done.value : c.failed(done);
    },
    async write(r, { offset, data, flags: how, killSuidGid, fromCache }) {
      if (offset + data.length > sizeMax) return -errno.EFBIG;
      const done = await server.write({
        ...{ ino: r.node, offset, append: (how & append) !== 0 && !fromCache, killSuidGid },
        ...{ uid: r.uid, gid: r.gid, bytes: data },
      });
      return done.ok ? done.value : c.failed(done);
    },
    async fallocate(r, { offset, length, mode }) {
      const how = allocateHow(mode);
      if (!how) return -errno.EOPNOTSUPP;
      if (offset + length > sizeMax) return -errno.EFBIG;
      const who = { uid: r.uid, gid: r.gid };
      const done = await server.allocate({ ino: r.node, offset, length, how, ...who });
      return done.ok ? 0 : c.failed(done);
    },
    async seek(r, { offset, whence }) {
      const what = whence === seekWhence.DATA ? 'data' : 'hole';
      const found = await server.seek(r.node, offset, what);
      return found.ok ? found.value : c.failed(found);
    },
    async fsync(r) {
      const synced = await server.sync(r.node);
      return synced.ok ? 0 : c.failed(synced);
    },
    async fsyncdir() {
      const synced = await server.sync();
      return synced.ok ? 0 : c.failed(synced);
    },
    async release(r, { lockOwner }) {
      await released(r, lockOwner);
      return c.done(await c.change(r, { op: 'release', ino: r.node, client: c.name }));
    },
  };

  async function cutOff(r: Request, killSuidGid: boolean): Promise<number> {
    const mode = killSuidGid ? await c.modeWithoutSetId(r.node) : {};
    if (typeof mode === 'number') return mode;
    return c.change(r, { op: 'setattr', ino: r.node, size: 0, ...mode });
  }
}
