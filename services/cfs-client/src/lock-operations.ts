// File locks, which the server has for all nodes: POSIX, open file description and flock. Whoever waits asks
// again: there is no queue, and nobody is first by having come first. [fcntl(2), flock(2)]
import type { CfsLock } from '@ssi/contracts';
import {
  errno,
  type Filesystem,
  type LockRequest,
  LockTable,
  lockType,
  type Request,
} from '@ssi/fuse';
import type { Client } from './client.ts';

const retryMs = 10;
type Asked = Pick<LockRequest, 'owner' | 'start' | 'end' | 'type' | 'pid'> & {
  readonly flock: boolean;
};
type LockOperations = Required<Pick<Filesystem, 'getlk' | 'setlk' | 'flush'>> & {
  /** An open file is gone: what its owner had locked by it goes. */
  released(r: Request, owner: bigint): Promise<void>;
  /** What programs of this node have locked. */
  held(): HeldLock[];
};
export interface HeldLock {
  readonly ino: number;
  readonly pid: number;
  readonly flock: boolean;
}

export function lockOperations(c: Client): LockOperations {
  /** Who may have locks, so that a close asks the server only then. */
  const owners = new Set<string>();
  const key = (r: Request, owner: unknown, flock: boolean) => `${r.node} ${owner} ${flock}`;
  const lockOf = (r: Request, l: Asked): CfsLock => ({
    ...{ ino: r.node, client: c.name, owner: String(l.owner), flock: l.flock, start: l.start },
    ...{ type: l.type, pid: l.pid, ...(Number.isFinite(l.end) ? { end: l.end } : {}) },
  });
  /** As the server has them, of this node: a table for each file, and one for its flock(2) locks. */
  const tables = new Map<string, { readonly ino: number; flock: boolean; table: LockTable }>();
  async function set(r: Request, l: Asked): Promise<number> {
    const done = await c.change(r, { op: 'lock', ...lockOf(r, l) });
    if (done < 0) return done;
    const at = `${r.node} ${l.flock}`;
    const of = tables.get(at) ?? { ino: r.node, flock: l.flock, table: new LockTable() };
    tables.set(at, of);
    of.table.set({ ...l, fh: 0 });
    if (of.table.held.length === 0) tables.delete(at);
    return done;
  }
  async function letGo(r: Request, owner: bigint, flock: boolean): Promise<void> {
    if (!owners.delete(key(r, owner, flock))) return;
    const whole = { start: 0, end: Number.POSITIVE_INFINITY, type: lockType.UNLOCK, pid: 0 };
    await set(r, { owner, flock, ...whole });
  }
  return {
    async getlk(r, l) {
      const found = await c.server.lockHolder(lockOf(r, l));
      if (!found.ok) return c.failed(found);
      return { ...found.value, end: found.value.end ?? Number.POSITIVE_INFINITY };
    },
    async setlk(r, l, wait) {
      if (l.type !== lockType.UNLOCK) owners.add(key(r, l.owner, l.flock));
      for (;;) {
        // A refusal would be in the log as all changes are: whoever waits looks first.
        const found = wait ? await c.server.lockHolder(lockOf(r, l)) : undefined;
        if (found && !found.ok) return c.failed(found);
        const isFree = found === undefined || found.value.type === lockType.UNLOCK;
        const done = isFree ? await set(r, l) : -errno.EACCES;
        if (done !== -errno.EACCES) return c.done(done);
        if (!wait) return -errno.EAGAIN;
        if (r.signal.aborted) return -errno.EINTR;
        await c.sleep(retryMs);
        if (r.signal.aborted) return -errno.EINTR;
      }
    },
    async flush(r, { lockOwner }) {
      await letGo(r, lockOwner, false);
      return 0;
    },
    held: () =>
      [...tables.values()].flatMap(({ ino, flock, table }) =>
        table.held.map(({ pid }) => ({ ino, flock, pid })),
      ),
    async released(r, owner) {
      await letGo(r, owner, false);
      await letGo(r, owner, true);
    },
  };
}
