// A small tree that is the same in every process: for tests of what the library does when handlers fail,
// when a server is replaced, and of what the kernel keeps until it is told not to.
import {
  type Attributes,
  type Entry,
  errno,
  type Filesystem,
  fileType,
  type Session,
} from '@ssi/fuse';

const hourMs = 3_600_000;
/** By node - 1; the first is the root. */
export const fixedNames = ['', 'data', 'stuck', 'throws', 'rejects', 'junk'] as const;

export interface FixedFilesystem extends Filesystem {
  /** The content of `data` is another from now on, and the kernel is told so. */
  change(session: Session): Promise<readonly number[]>;
}

export function fixedFilesystem(stuck: boolean, say: (line: string) => void): FixedFilesystem {
  let text = 'first\n';
  const attributes = (node: number): Attributes => ({
    ...{ ino: node, blocks: 1, nlink: 1, uid: 0, gid: 0, rdev: 0, blockSize: 4096 },
    ...{ atimeSec: 1, atimeNsec: 2, mtimeSec: 3, mtimeNsec: 4, ctimeSec: 5, ctimeNsec: 6 },
    size: node === 1 ? 4096 : text.length,
    mode: node === 1 ? fileType.DIRECTORY | 0o755 : fileType.REGULAR | 0o644,
    ttlMs: hourMs,
  });
  const entry = (node: number): Entry => ({
    node,
    attributes: attributes(node),
    entryTtlMs: hourMs,
  });
  return {
    lookup(_, name) {
      const node = (fixedNames as readonly string[]).indexOf(name) + 1;
      return node > 1 ? entry(node) : { absentTtlMs: hourMs };
    },
    getattr: (r) => attributes(r.node),
    read(r, { size }) {
      switch (fixedNames[r.node - 1]) {
        case 'throws':
          throw new Error('thrown on purpose');
        case 'rejects':
          return Promise.reject(new Error('rejected on purpose'));
        case 'junk':
          return Buffer.alloc(size + 1);
        case 'stuck':
          say(`read ${r.unique} ${r.resent}`);
          if (!stuck) break;
          return new Promise((answer) => {
            r.signal.addEventListener('abort', () => answer(-errno.EINTR));
          });
      }
      return Buffer.from(text);
    },
    readdir(_, page) {
      for (let i = page.offset; i < fixedNames.length - 1; i++) {
        const node = i + 2;
        const name = fixedNames[i + 1] as string;
        const at = { name, ino: node, mode: attributes(node).mode, nextOffset: i + 1 };
        if (!page.add(page.plus ? { ...at, entry: entry(node) } : at)) break;
      }
      return 0;
    },
    async change(session) {
      text = 'the second\n';
      return Promise.all([session.invalidateInode(2), session.invalidateEntry(1, 'data')]);
    },
  };
}
