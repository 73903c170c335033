// The kernel's requests about open files: opens and closes are told to the metadata server, so that a file
// outlives its last name; bytes go to the data, their number to the metadata before a write is answered.
import { errno, type Filesystem, fileType, type Request } from '@ssi/fuse';
import type { Client } from './client.ts';

const append = 0o2000;
const truncate = 0o1000;
/** bytes: as the metadata server has it. */
const sizeMax = 2 ** 43;

export function fileOperations(c: Client): Filesystem {
  const { metadata, data } = c;
  const open = (r: Request, ino: number) => c.change(r, { op: 'open', ino, client: c.name });
  return {
    async create(r, { name, mode }) {
      const entry = await c.make(r, { name, mode: fileType.REGULAR | (mode & 0o7777) });
      if (typeof entry === 'number') return entry;
      const opened = await open(r, entry.node);
      return opened < 0 ? opened : entry;
    },
    async open(r, { flags, killSuidGid }) {
      if (flags & truncate) {
        const before = await metadata.info(r.node);
        if (!before.ok) return c.failed(before);
        const mode = killSuidGid ? { mode: c.withoutSetId(before.value.mode) } : {};
        const cut = await c.change(r, { op: 'setattr', ino: r.node, size: 0, ...mode });
        if (cut < 0) return cut;
        const result = data.truncate(r.node, 0);
        if (result < 0) return result;
      }
      const opened = await open(r, r.node);
      return opened < 0 ? opened : {};
    },
    async read(r, { offset, size }) {
      const found = await metadata.info(r.node);
      if (!found.ok) return c.failed(found);
      // What lies past the size was never acknowledged.
      const wanted = Math.min(size, found.value.size - offset);
      if (wanted <= 0) return new Uint8Array(0);
      const bytes = data.read(r.node, offset, wanted);
      if (typeof bytes === 'number' || bytes.length === wanted) return bytes;
      const whole = Buffer.alloc(wanted);
      whole.set(bytes);
      return whole;
    },
    async write(r, { offset, data: bytes, flags, killSuidGid, fromCache }) {
      const found = await metadata.info(r.node);
      if (!found.ok) return c.failed(found);
      const { size, mode } = found.value;
      const at = flags & append && !fromCache ? size : offset;
      if (at + bytes.length > sizeMax) return -errno.EFBIG;
      const written = data.write(r.node, at, bytes);
      if (written < 0) return written;
      const done = await c.change(r, {
        ...{ op: 'setattr', ino: r.node, size: Math.max(size, at + written) },
        ...(killSuidGid ? { mode: c.withoutSetId(mode) } : {}),
      });
      return done < 0 ? done : written;
    },
    async fsync(r) {
      const result = data.sync(r.node);
      if (result < 0) return result;
      const synced = await metadata.sync();
      return synced.ok ? 0 : c.failed(synced);
    },
    async fsyncdir() {
      const synced = await metadata.sync();
      return synced.ok ? 0 : c.failed(synced);
    },
    async release(r) {
      const closed = await c.change(r, { op: 'release', ino: r.node, client: c.name });
      if (closed > 0) await c.removeIfGone(r.node);
      return c.done(closed);
    },
  };
}
