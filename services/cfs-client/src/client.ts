// What all operations of the mount share: how a request's changes are numbered, how answers become the
// kernel's, and when data goes with its inode.
import { type CfsErrno, errnoNumber, type Failure } from '@ssi/contracts';
import { type Attributes, type Entry, errno, type Request } from '@ssi/fuse';
import type { Change, Data, FileInfo, Metadata } from './ports.ts';

type Time = { readonly sec: number; readonly nsec: number };
/** Changes that one request makes at most. */
const changesMax = 4;

export interface ClientOptions {
  readonly metadata: Metadata;
  readonly data: Data;
  /** Names this mount's opens: those of a mount that is gone are forgotten by it. */
  readonly name: string;
  readonly nowMs: () => number;
}

export class Client {
  readonly nameMax = 255;
  readonly metadata: Metadata;
  readonly data: Data;
  readonly name: string;
  readonly #nowMs: () => number;
  readonly #made = new WeakMap<Request, number>();

  constructor(o: ClientOptions) {
    this.metadata = o.metadata;
    this.data = o.data;
    this.name = o.name;
    this.#nowMs = o.nowMs;
  }

  /**
   * The inode, or the negative errno. Numbered by the kernel's number of the request: when the kernel sends it
   * again to a successor of this process, the server knows what was done already.
   */
  async change(r: Request, change: Partial<Change> & Pick<Change, 'op'>): Promise<number> {
    const step = this.#made.get(r) ?? 0;
    this.#made.set(r, step + 1);
    const who = { uid: r.uid, gid: r.gid };
    const id = r.unique * changesMax + step;
    const done = await this.metadata.execute(id, { ...who, ...change } as Change);
    return done.ok ? done.value : this.failed(done);
  }

  done = (result: number): number => Math.min(result, 0);

  failed(f: Failure<CfsErrno>): number {
    return -errnoNumber[f.errno];
  }

  time(t: Time | 'now'): [number, number] {
    if (t !== 'now') return [t.sec, t.nsec];
    const ms = this.#nowMs();
    return [Math.floor(ms / 1000), Math.floor((ms % 1000) * 1e6)];
  }

  /** The set-user-id bit, and the set-group-id bit of what its group may run. */
  withoutSetId = (mode: number): number => mode & ~(0o4000 | (mode & 0o010 ? 0o2000 : 0));

  entry = (info: FileInfo): Entry => ({ node: info.ino, attributes: attributes(info) });

  async entryOf(ino: number): Promise<Entry | number> {
    const found = await this.metadata.info(ino);
    return found.ok ? this.entry(found.value) : this.failed(found);
  }

  async attributesOf(ino: number): Promise<Attributes | number> {
    const found = await this.metadata.info(ino);
    return found.ok ? attributes(found.value) : this.failed(found);
  }

  async make(
    r: Request,
    what: { name: string; mode: number; rdev?: number; target?: string },
  ): Promise<Entry | number> {
    if (what.name.length > this.nameMax) return -errno.ENAMETOOLONG;
    const ino = await this.change(r, { op: 'make', parent: r.node, ...what });
    return ino < 0 ? ino : this.entryOf(ino);
  }

  async removeIfGone(ino: number): Promise<void> {
    const found = await this.metadata.info(ino);
    if (!found.ok && found.errno === 'ENOENT') this.data.remove(ino);
  }
}

/** As the kernel has it. Nothing is kept without asking while there are no tokens: others may change it. */
function attributes(info: FileInfo): Attributes {
  const [[atimeSec, atimeNsec], [mtimeSec, mtimeNsec], [ctimeSec, ctimeNsec]] = [
    info.atime,
    info.mtime,
    info.ctime,
  ];
  const [btimeSec, btimeNsec] = info.btime;
  const { ino, mode, uid, gid, rdev, nlink, size } = info;
  return {
    ...{ ino, mode, uid, gid, rdev, nlink, size, blockSize: 4096 },
    blocks: Math.ceil(size / 512),
    ...{ atimeSec, atimeNsec, mtimeSec, mtimeNsec, ctimeSec, ctimeNsec, btimeSec, btimeNsec },
  };
}
