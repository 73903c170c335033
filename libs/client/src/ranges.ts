// Byte ranges for a program: one owner, as a process (POSIX locks) or an open file description (OFD locks)
// is one, and what it locks of a resource. [fcntl(2): F_SETLK, F_SETLKW, F_GETLK]
import { fail, type LockGrant, type LockRange, ok, type Reply } from '@ssi/contracts';
import type { LockOptions, Lockspace } from './lockspace.ts';

export type RangeOptions = Pick<LockOptions, 'timeoutMs' | 'signal'> & {
  /** EAGAIN instead of waiting. [F_SETLK] */
  readonly noqueue?: boolean;
};

export interface RangeOwner {
  /**
   * Replaces what this owner has there; `none` gives it up. EAGAIN with noqueue; EDEADLK it would wait for
   * itself, and has what it had; EBUSY it waits already; ETIMEDOUT, ECANCELED; EINVAL; ESRCH all is lost.
   */
  set(range: LockRange, options?: RangeOptions): Promise<Reply<undefined>>;
  /** What of another owner is in the way; undefined: nothing. [F_GETLK] */
  test(range: LockRange): Promise<Reply<LockGrant['inTheWay']>>;
  /** Gives all up. */
  close(): Promise<Reply<undefined>>;
}

export interface RangeOwnerOptions {
  /** Transaction, for deadlocks over several resources: the process, for POSIX locks. */
  readonly xid?: string;
  /** An OFD lock: never looked at for deadlocks. */
  readonly ofd?: boolean;
}

/** An owner of ranges of `resource`. ESRCH: the session is lost. */
export async function openRanges(
  ls: Lockspace,
  resource: string,
  { xid, ofd = false }: RangeOwnerOptions = {},
): Promise<Reply<RangeOwner>> {
  const common = xid === undefined ? {} : { xid };
  const opened = await ls.lock(resource, 'NL', { ...common, flags: ['EXPEDITE'] });
  if (!opened.ok) return opened;
  const lock = opened.value;
  const flags = ofd ? (['NODLCKWT'] as const) : [];
  return ok({
    async set(range, { noqueue = false, ...rest } = {}) {
      const all = noqueue ? ([...flags, 'NOQUEUE'] as const) : flags;
      const reply = await ls.convert(lock, 'NL', { ...rest, ...common, flags: all, range });
      return reply.ok ? ok() : reply;
    },
    async test(range) {
      if (range.type === 'none') return fail('EINVAL', 'a test is for read or write');
      const reply = await ls.convert(lock, 'NL', { ...common, range, test: true });
      return reply.ok ? ok(reply.value.inTheWay) : reply;
    },
    close: () => ls.unlock(lock, { force: true }),
  });
}
