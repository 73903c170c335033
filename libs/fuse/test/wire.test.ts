// The protocol's bytes: requests as the kernel lays them out are read back, answers are laid out as it wants.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { renameBody, setattrBody, setxattrBody, symlinkBody } from '../src/bodies.ts';
import { DirectoryPage } from '../src/directory-page.ts';
import { initFlag, setattrFlag } from '../src/flags.ts';
import { Incoming } from '../src/incoming.ts';
import { nameText, textName } from '../src/index.ts';
import { checkFeatures, negotiate } from '../src/init.ts';
import { Outgoing, outHeaderBytes } from '../src/outgoing.ts';
import { Request } from '../src/request.ts';

const ttl = { entryMs: 1_500, attributesMs: 0 };
const anyName = fc
  .uint8Array({ minLength: 1, maxLength: 255 })
  .map((bytes) => Buffer.from(bytes.map((b) => b || 1)).toString('latin1'));
const offset = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

/** A message with its header, and a body that `put` writes from byte 40 on. */
function message(put: (view: DataView, bytes: Buffer) => number, head = {}): Incoming {
  const m = new Incoming(8192);
  const view = new DataView(m.bytes.buffer);
  const { unique = 7n, node = 1n } = head as { unique?: bigint; node?: bigint };
  view.setBigUint64(8, unique, true);
  view.setBigUint64(16, node, true);
  view.setUint32(24, 1000, true);
  view.setUint32(28, 2000, true);
  view.setUint32(32, 42, true);
  m.length = put(view, m.bytes);
  view.setUint32(0, m.length, true);
  return m;
}
const putName = (bytes: Buffer, at: number, name: string): number =>
  bytes.write(`${name}\0`, at, 'latin1') + at;

describe('FUSE: requests', () => {
  test('the head says who asks, and whether it comes for the second time', () => {
    const m = message(() => 40, { unique: 0x8000_0001_0000_0002n, node: 2n ** 52n });
    expect(new Request(m)).toMatchObject({
      ...{ unique: 2 ** 32 + 2, resent: true, node: 2 ** 52 },
      ...{ uid: 1000, gid: 2000, pid: 42 },
    });
  });

  test('rename, symlink and setxattr take names of any bytes apart', () => {
    fc.assert(
      fc.property(anyName, anyName, offset, fc.nat(7), (a, b, parent, flags) => {
        const two = message((view, bytes) => {
          view.setBigUint64(40, BigInt(parent), true);
          view.setUint32(48, flags, true);
          return putName(bytes, putName(bytes, 56, a), b);
        });
        expect(renameBody(two, true)).toEqual({ name: a, newName: b, newParent: parent, flags });
        const link = message((_, bytes) => putName(bytes, putName(bytes, 40, a), b));
        expect(symlinkBody(link)).toEqual({ name: a, target: b });
        for (const extended of [true, false]) {
          const xattr = message((view, bytes) => {
            view.setUint32(40, b.length, true);
            view.setUint32(44, flags, true);
            return putName(bytes, putName(bytes, extended ? 56 : 48, a), b) - 1;
          });
          const body = setxattrBody(xattr, extended);
          expect([body.name, Buffer.from(body.value).toString('latin1')]).toEqual([a, b]);
        }
      }),
    );
  });

  test('setattr has what its valid bits name, and nothing else', () => {
    const sec = fc.integer({ min: -(2 ** 40), max: 2 ** 40 });
    fc.assert(
      fc.property(fc.nat(0xfff), offset, sec, fc.nat(999_999_999), (valid, size, time, nsec) => {
        const body = setattrBody(
          message((view) => {
            view.setUint32(40, valid, true);
            view.setBigUint64(56, BigInt(size), true);
            for (const at of [72, 80, 88]) view.setBigInt64(at, BigInt(time), true);
            for (const at of [96, 100, 104]) view.setUint32(at, nsec, true);
            view.setUint32(108, 0o100644, true);
            view.setUint32(116, 5, true);
            view.setUint32(120, 6, true);
            return 128;
          }),
        );
        const f = setattrFlag;
        const when = (bit: number, now: number) =>
          valid & bit ? (valid & now ? 'now' : { sec: time, nsec }) : undefined;
        expect(body.size).toBe(valid & f.SIZE ? size : undefined);
        expect(body.mode).toBe(valid & f.MODE ? 0o100644 : undefined);
        expect(body.uid).toBe(valid & f.UID ? 5 : undefined);
        expect(body.gid).toBe(valid & f.GID ? 6 : undefined);
        expect(body.atime).toEqual(when(f.ATIME, f.ATIME_NOW));
        expect(body.mtime).toEqual(when(f.MTIME, f.MTIME_NOW));
        expect(body.killSuidGid).toBe((valid & f.KILL_SUIDGID) !== 0);
      }),
    );
  });

  test('names are bytes, and texts are names', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(nameText(textName(text))).toBe(text);
      }),
    );
  });
});

describe('FUSE: answers', () => {
  test('an entry: 64-bit numbers, durations, times before 1970', () => {
    const out = new Outgoing(ttl);
    const times = { atimeSec: -2, atimeNsec: 1, mtimeSec: 2 ** 33, mtimeNsec: 2 };
    const attributes = {
      ...{ ...times, ctimeSec: 0, ctimeNsec: 3, ino: 9, size: 2 ** 40 + 1, blocks: 8 },
      ...{ mode: 0o100600, nlink: 2, uid: 3, gid: 4, rdev: 5, blockSize: 4096 },
    };
    out.putEntry({
      node: 2 ** 40,
      generation: 6,
      attributes,
      entryTtlMs: Number.POSITIVE_INFINITY,
    });
    const view = new DataView(out.bytes.buffer, outHeaderBytes);
    const u64 = (at: number) => Number(view.getBigInt64(at, true));
    expect([u64(0), u64(8), u64(24)]).toEqual([2 ** 40, 6, 0]);
    expect(u64(16)).toBeGreaterThan(2 ** 40);
    expect([40, 48, 56, 64, 72, 80].map(u64)).toEqual([9, 2 ** 40 + 1, 8, -2, 2 ** 33, 0]);
    const words = [88, 92, 96, 100, 104, 108, 112, 116, 120].map((at) => view.getUint32(at, true));
    expect(words).toEqual([1, 2, 3, 0o100600, 2, 3, 4, 5, 4096]);
    out.putAttributes(attributes);
    expect(out.length).toBe(104);
    out.putEntry({ absentTtlMs: 2_500 });
    expect([u64(0), u64(16), view.getUint32(32, true)]).toEqual([0, 2, 500_000_000]);
  });

  test('a page of a directory holds what fits, aligned, and says where to go on', () => {
    fc.assert(
      fc.property(
        fc.array(anyName, { maxLength: 40 }),
        fc.integer({ min: 32, max: 4096 }),
        (list, size) => {
          const page = new DirectoryPage({ fh: 1, offset: 0, size }, false, ttl);
          const put = list.filter((name, i) =>
            page.add({ name, ino: i + 10, mode: 0o040755, nextOffset: i + 1 }),
          );
          const bytes = Buffer.from(page.bytes);
          expect(bytes.length).toBeLessThanOrEqual(size);
          const read: string[] = [];
          for (let at = 0; at < bytes.length; ) {
            const length = bytes.readUInt32LE(at + 16);
            expect(bytes.readUInt32LE(at + 20)).toBe(4);
            read.push(bytes.toString('latin1', at + 24, at + 24 + length));
            at += (24 + length + 7) & ~7;
          }
          expect(read).toEqual(put);
        },
      ),
    );
  });
});

describe('FUSE: the first exchange', () => {
  const init = (minor: number, flags: number) =>
    message((view) => {
      [7, minor, 131_072, flags, 0xffff_ffff].forEach((n, i) => {
        view.setUint32(40 + 4 * i, n, true);
      });
      return 104;
    });

  test('nothing is agreed that the kernel did not offer', () => {
    fc.assert(
      fc.property(fc.nat(0x7fff_ffff), fc.boolean(), (offered, locks) => {
        const agreed = negotiate(init(40, offered), new Outgoing(ttl), {}, locks);
        expect((agreed?.flags ?? 0) & ~offered).toBe(0);
        expect(((agreed?.flags ?? 0) & initFlag.POSIX_LOCKS) !== 0).toBe(
          locks && (offered & initFlag.POSIX_LOCKS) !== 0,
        );
      }),
    );
  });

  test('a kernel that is too old is refused, and so are options that exclude each other', () => {
    expect(negotiate(init(28, -1), new Outgoing(ttl), {}, false)).toBeUndefined();
    expect(() => checkFeatures({ writeback: true, passthrough: true })).toThrow('exclude');
    expect(() => checkFeatures({ maxWrite: 100 })).toThrow('4096 to 1048576');
  });
});
