// An inode of the file system in memory: it is its own attributes.
import { type Attributes, type Entry, fileType, LockTable } from '@ssi/fuse';
import { Content } from './content.ts';

const nowMs = (): number => performance.timeOrigin + performance.now();

export class Inode implements Attributes, Entry {
  readonly node: number;
  mode: number;
  uid: number;
  gid: number;
  readonly rdev: number;
  nlink: number;
  atimeSec = 0;
  atimeNsec = 0;
  mtimeSec = 0;
  mtimeNsec = 0;
  ctimeSec = 0;
  ctimeNsec = 0;
  readonly btimeSec: number;
  readonly btimeNsec: number;
  readonly blockSize = 4096;
  /** How often the kernel was handed it and has not taken it back. */
  lookups = 0;
  /** Of a directory: its names. */
  readonly children: Map<string, Inode> | undefined;
  /** Of a directory: where it is. */
  parent: Inode | undefined;
  readonly content = new Content();
  target = '';
  readonly xattrs = new Map<string, Uint8Array>();
  readonly locks = new LockTable();
  readonly flocks = new LockTable();

  constructor(node: number, mode: number, owner: { uid: number; gid: number }, rdev = 0) {
    this.node = node;
    this.mode = mode;
    this.uid = owner.uid;
    this.gid = owner.gid;
    this.rdev = rdev;
    this.children = (mode & fileType.MASK) === fileType.DIRECTORY ? new Map() : undefined;
    this.nlink = this.children ? 2 : 1;
    this.touch();
    this.btimeSec = this.atimeSec = this.mtimeSec;
    this.btimeNsec = this.atimeNsec = this.mtimeNsec;
  }

  get attributes(): this {
    return this;
  }
  get ino(): number {
    return this.node;
  }
  get size(): number {
    return this.children ? 4096 : this.target.length || this.content.size;
  }
  get blocks(): number {
    return this.children ? 8 : this.content.blocks;
  }

  /** Its content has changed now (or only what is told of it). */
  touch(what: 'content' | 'attributes' = 'content'): void {
    const ms = nowMs();
    this.ctimeSec = Math.floor(ms / 1000);
    this.ctimeNsec = Math.floor((ms % 1000) * 1e6);
    if (what === 'attributes') return;
    this.mtimeSec = this.ctimeSec;
    this.mtimeNsec = this.ctimeNsec;
  }

  /** The set-id bits go when somebody without the right to them writes, or the owner changes. [chown(2)] */
  killSetId(): void {
    this.mode &= ~0o4000;
    if (this.mode & 0o010) this.mode &= ~0o2000;
  }
}
