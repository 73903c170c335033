// What all operations of the mount share: how changes are asked for, and how answers become the kernel's.
import { type CfsErrno, errnoNumber, type Failure } from '@ssi/contracts';
import { type Attributes, type Entry, errno, type Request } from '@ssi/fuse';
import { type Clock, sleep } from '@ssi/ports';
import type { Change, FileInfo, Server } from './ports.ts';

type Time = { readonly sec: number; readonly nsec: number };

type Asked = Partial<Change> & Pick<Change, 'op'>;

export interface ClientOptions {
  readonly server: Server;
  /** Names this mount's opens and locks: those of a mount that is gone are forgotten by it. */
  readonly name: string;
  readonly clock: Clock;
  /** Changes wait for it. */
  readonly attached?: Promise<void>;
}

export class Client {
  readonly nameMax = 255;
  readonly server: Server;
  readonly name: string;
  readonly #clock: Clock;
  readonly #attached: Promise<void> | undefined;

  constructor(o: ClientOptions) {
    this.server = o.server;
    this.name = o.name;
    this.#clock = o.clock;
    this.#attached = o.attached;
  }

  async #execute(r: Request, change: Asked) {
    await this.#attached;
    return this.server.execute({ uid: r.uid, gid: r.gid, ...change } as Change);
  }
  /** The inode, or the negative errno. */
  async change(r: Request, change: Asked): Promise<number> {
    const done = await this.#execute(r, change);
    return done.ok ? done.value.ino : this.failed(done);
  }
  /** What the inode is then: of make, tmpfile, link and setattr. */
  async changed(r: Request, change: Asked): Promise<FileInfo | number> {
    const done = await this.#execute(r, change);
    return done.ok ? (done.value.info ?? -errno.ENOENT) : this.failed(done);
  }

  sleep = (ms: number): Promise<void> => sleep(this.#clock, ms);

  done = (result: number): number => Math.min(result, 0);

  failed(f: Failure<CfsErrno>): number {
    return -errnoNumber[f.errno];
  }

  time(t: Time | 'now'): [number, number] {
    if (t !== 'now') return [t.sec, t.nsec];
    const ms = this.#clock.wallMs();
    return [Math.floor(ms / 1000), Math.floor((ms % 1000) * 1e6)];
  }

  /** Without the set-user-id bit, and the set-group-id bit of what its group may run. */
  async modeWithoutSetId(ino: number): Promise<{ mode: number } | number> {
    const found = await this.server.info(ino);
    if (!found.ok) return this.failed(found);
    const { mode } = found.value;
    return { mode: mode & ~(0o4000 | (mode & 0o010 ? 0o2000 : 0)) };
  }

  entry = (info: FileInfo): Entry => ({ node: info.ino, attributes: attributes(info) });

  async entryAfter(r: Request, change: Asked): Promise<Entry | number> {
    const info = await this.changed(r, change);
    return typeof info === 'number' ? info : this.entry(info);
  }

  async attributesOf(ino: number): Promise<Attributes | number> {
    const found = await this.server.info(ino);
    return found.ok ? attributes(found.value) : this.failed(found);
  }

  async make(
    r: Request,
    what: { name: string; mode: number; rdev?: number; target?: string; client?: string },
  ): Promise<Entry | number> {
    if (what.name.length > this.nameMax) return -errno.ENAMETOOLONG;
    return this.entryAfter(r, { op: 'make', parent: r.node, ...what });
  }
}

/** As the kernel has it. Nothing is kept without asking: others may change it. */
export function attributes(info: FileInfo): Attributes {
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
