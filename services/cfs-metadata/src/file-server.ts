// What clients ask, on the tree and the data of one file system: each answer is given in one piece, so that
// operations happen one after another, as on one machine. Data is written before the log says so; what the log
// does not say was not acknowledged, and is not read. [design: section 10]
import {
  type CfsErrno,
  type CfsMutation,
  type cfs,
  errnoNumber,
  fail,
  ok,
  type Reply,
  type ReplyOf,
  type RequestOf,
} from '@ssi/contracts';
import { directoryType, type Inode, isDirectory, sizeMax, type Time, typeMask } from './inode.ts';
import { lockHolder } from './mutation.ts';
import type { Data } from './ports.ts';
import type { RequestId, Store } from './store.ts';

type Ops = (typeof cfs)['ops'];
type Ask<Op extends keyof Ops> = RequestOf<Ops[Op]>;
type Answer<Op extends keyof Ops> = Reply<ReplyOf<Ops[Op]>, CfsErrno>;

/** Names in one answer: 1,000 of the longest are in a frame. */
const listMax = 1_000;
/** bytes of the log at which the whole tree is written anew. */
const checkpointBytes = 64 * 2 ** 20;
/** Changes after which the kernel is told what came of them. */
const tellsAfter: ReadonlySet<CfsMutation['op']> = new Set(['make', 'tmpfile', 'link', 'setattr']);
/** F_UNLCK */
const unlock = 2;

export class FileServer {
  readonly #store: Store;
  readonly #data: Data;
  readonly #wallMs: () => number;

  constructor(store: Store, data: Data, wallMs: () => number) {
    this.#store = store;
    this.#data = data;
    this.#wallMs = wallMs;
    // Their inodes went while their server died.
    for (const ino of data.list()) this.#removeIfGone(ino);
  }

  /** Ends what clients have open and locked that `isGone` says. */
  forget(isGone: (client: string) => boolean): void {
    for (const client of this.#store.clients) {
      if (!isGone(client)) continue;
      const inodes = [...this.#store.tree.inodes.values()];
      const open = inodes.filter((inode) => inode.openBy.includes(client));
      this.#store.own({ op: 'forget', ...this.#asked({ uid: 0, gid: 0 }), client });
      for (const inode of open) this.#removeIfGone(inode.ino);
    }
  }

  info(ino: number): Answer<'info'> {
    const inode = this.#store.tree.inodes.get(ino);
    return inode ? ok(told(inode)) : fail('ENOENT', `no inode ${ino}`);
  }

  lookup({ parent, name }: Ask<'lookup'>): Answer<'lookup'> {
    const names = this.#store.tree.names.get(parent);
    if (names) return this.info(names.get(name) ?? 0);
    const inode = this.#store.tree.inodes.get(parent);
    return inode && (inode.mode & typeMask) !== directoryType
      ? fail('ENOTDIR', `${parent} is no directory`)
      : fail('ENOENT', `no directory ${parent}`);
  }

  list({ ino, from }: Ask<'list'>): Answer<'list'> {
    const { tree } = this.#store;
    const directory = tree.inodes.get(ino);
    if (!directory) return fail('ENOENT', `no directory ${ino}`);
    const all = [['..', directory.parent] as const, ...(tree.names.get(ino) ?? [])];
    const names = all
      .slice(from, from + listMax)
      .map(([name, at]) => ({ name, ino: at, mode: tree.inodes.get(at)?.mode ?? directoryType }));
    return ok({ names, more: from + names.length < all.length });
  }

  execute(request: RequestId, change: CfsMutation): Answer<'execute'> {
    const before = this.#store.answer(request);
    if (!before && change.op === 'setattr' && change.size !== undefined) {
      const cut = this.#resize(change.ino, change.size);
      if (!cut.ok) return cut;
    }
    const touched = before ? [] : this.#touched(change);
    const done =
      before ?? this.#store.execute(request, { ...change, ...this.#asked(change) } as CfsMutation);
    for (const ino of touched) this.#removeIfGone(ino);
    if (this.#store.logBytes > checkpointBytes) this.#store.checkpoint();
    if (!done.ok) return done;
    const inode = tellsAfter.has(change.op) && this.#store.tree.inodes.get(done.value);
    return ok({ ino: done.value, ...(inode && { info: told(inode) }) });
  }

  read({ ino, offset, size }: Ask<'read'>): Answer<'read'> {
    const inode = this.#store.tree.inodes.get(ino);
    if (!inode) return fail('ENOENT', `no inode ${ino}`);
    const wanted = Math.min(size, inode.size - offset);
    if (wanted <= 0) return ok({ bytes: new Uint8Array(0) });
    const bytes = this.#data.read(ino, offset, wanted);
    if (typeof bytes === 'number') return failed(bytes);
    if (bytes.length === wanted) return ok({ bytes });
    const whole = new Uint8Array(wanted);
    whole.set(bytes);
    return ok({ bytes: whole });
  }

  write(q: Ask<'write'>): Answer<'write'> {
    const { request, ino, bytes } = q;
    const before = this.#store.answer(request);
    if (before) return before.ok ? ok({ written: bytes.length }) : before;
    const inode = this.#store.tree.inodes.get(ino);
    if (!inode) return fail('ENOENT', `no inode ${ino}`);
    const at = q.append ? inode.size : q.offset;
    if (at + bytes.length > sizeMax) return fail('EFBIG', `longer than ${sizeMax} bytes`);
    if (at > inode.size) {
      const grown = this.#resize(ino, at);
      if (!grown.ok) return grown;
    }
    for (let done = 0; done < bytes.length; ) {
      const written = this.#data.write(ino, at + done, bytes.subarray(done));
      if (written <= 0) return failed(written);
      done += written;
    }
    const mode = inode.mode & ~(0o4000 | (inode.mode & 0o010 ? 0o2000 : 0));
    const done = this.#store.execute(request, {
      ...{ op: 'setattr', ...this.#asked(q), ino, size: Math.max(inode.size, at + bytes.length) },
      ...(q.killSuidGid ? { mode } : {}),
    });
    return done.ok ? ok({ written: bytes.length }) : done;
  }

  allocate(q: Ask<'allocate'>): Answer<'allocate'> {
    const { request, ino, offset, how } = q;
    const before = this.#store.answer(request);
    if (before) return before.ok ? ok({}) : before;
    const inode = this.#store.tree.inodes.get(ino);
    if (!inode) return fail('ENOENT', `no inode ${ino}`);
    const end = offset + q.length;
    if (end > sizeMax) return fail('EFBIG', `longer than ${sizeMax} bytes`);
    const size = how === 'grow' ? Math.max(inode.size, end) : inode.size;
    // Past the end nothing is read: there is nothing to make zeros of.
    const within = Math.min(end, size) - offset;
    if (size > inode.size) {
      const grown = this.#resize(ino, size);
      if (!grown.ok) return grown;
    }
    const cleared =
      (how === 'punch' || how === 'zero') && within > 0 ? this.#data.punch(ino, offset, within) : 0;
    const result =
      cleared < 0 || how === 'punch' ? cleared : this.#data.allocate(ino, offset, q.length);
    if (result < 0) return failed(result);
    const done = this.#store.execute(request, { op: 'setattr', ...this.#asked(q), ino, size });
    return done.ok ? ok({}) : done;
  }

  /** Of the file's data, as far as its size goes: what the data file lacks is a hole. */
  seek({ ino, offset, what }: Ask<'seek'>): Answer<'seek'> {
    const inode = this.#store.tree.inodes.get(ino);
    if (!inode) return fail('ENOENT', `no inode ${ino}`);
    const past = fail('ENXIO', `no ${what} from ${offset} on`);
    if (offset >= inode.size) return past;
    const found = this.#data.seek(ino, offset, what);
    if (found < 0 && found !== -errnoNumber.ENXIO) return failed(found);
    if (what === 'data') return found < 0 || found >= inode.size ? past : ok({ offset: found });
    return ok({ offset: found < 0 ? offset : Math.min(found, inode.size) });
  }

  sync({ ino }: Ask<'sync'>): Answer<'sync'> {
    const result = ino === undefined ? 0 : this.#data.sync(ino);
    if (result < 0) return failed(result);
    const synced = this.#store.sync();
    return synced.ok ? ok({}) : synced;
  }

  lockHolder(lock: Ask<'lockHolder'>): Answer<'lockHolder'> {
    const held = lockHolder(this.#store.tree, lock);
    if (!held) return ok({ start: lock.start, type: unlock, pid: 0 });
    const { start, end, type, pid } = held;
    return ok({ start, type, pid, ...(Number.isFinite(end) ? { end } : {}) });
  }

  room(): Answer<'room'> {
    const room = this.#data.room();
    return typeof room === 'number' ? failed(room) : ok(room);
  }

  /** What lay past the end was never acknowledged: it is zeros from here on. */
  #resize(ino: number, size: number): Reply<undefined, CfsErrno> {
    const inode = this.#store.tree.inodes.get(ino);
    if (!inode) return fail('ENOENT', `no inode ${ino}`);
    if (isDirectory(inode)) return fail('EISDIR', 'a directory has no size');
    if (size > sizeMax) return fail('EFBIG', `longer than ${sizeMax} bytes`);
    const cut = this.#data.truncate(ino, Math.min(inode.size, size));
    const result = cut < 0 || size <= inode.size ? cut : this.#data.truncate(ino, size);
    return result < 0 ? failed(result) : ok();
  }

  /** Inodes that a change may be the end of. */
  #touched(change: CfsMutation): number[] {
    const { names } = this.#store.tree;
    const at = (parent: number, name: string) => names.get(parent)?.get(name) ?? [];
    if (change.op === 'unlink' || change.op === 'rmdir')
      return [at(change.parent, change.name)].flat();
    if (change.op === 'rename') return [at(change.newParent, change.newName)].flat();
    return change.op === 'release' ? [change.ino] : [];
  }

  #removeIfGone(ino: number): void {
    if (!this.#store.tree.inodes.has(ino)) this.#data.remove(ino);
  }

  #asked = (who: { readonly uid: number; readonly gid: number }) => {
    const ms = this.#wallMs();
    const at: Time = [Math.floor(ms / 1000), Math.floor((ms % 1000) * 1e6)];
    return { at: pair(at), uid: who.uid, gid: who.gid };
  };
}

const pair = ([sec, nsec]: Time): [number, number] => [sec, nsec];

function failed(result: number): Reply<never, 'ENOSPC' | 'EOPNOTSUPP' | 'EIO'> {
  if (result === -errnoNumber.ENOSPC) return fail('ENOSPC', 'the disk of the server is full');
  return result === -errnoNumber.EOPNOTSUPP
    ? fail('EOPNOTSUPP', 'the file system of the data cannot')
    : fail('EIO', `its data: error ${-result}`);
}

/** The contract's part of an inode. */
function told(inode: Inode): ReplyOf<Ops['info']> {
  const { ino, mode, uid, gid, rdev, nlink, size, target } = inode;
  const { atime, mtime, ctime, btime, xattrs } = inode;
  return {
    ...{ ino, mode, uid, gid, rdev, nlink, size, target, xattrs: { ...xattrs } },
    ...{ atime: pair(atime), mtime: pair(mtime), ctime: pair(ctime), btime: pair(btime) },
  };
}
