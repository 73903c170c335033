// The owner's side: the sessions of this node's clients and what these ask for.
import { type dlm, fail, keyOf, ok, type Reply, type RequestOf, rangesMax } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import {
  type AgentLock,
  afterwards,
  type Giving,
  type LockReply,
  type LockRequest,
  newAgentLock,
  type Pending,
  replyOf,
} from './agent-lock.ts';
import { Copies } from './copies.ts';
import { Driver, type DriverDeps } from './driver.ts';
import { bitsOf, checkRequest, flag } from './flags.ts';
import { type Place, placeOf } from './place.ts';
import { lowered, withRange } from './ranges.ts';
import type { ResumeRequest } from './resuming.ts';
import { type Session, Sessions, sessionMs } from './sessions.ts';
import { tokenOf } from './tokens.ts';

export type AgentDeps = Omit<DriverDeps, 'copies' | 'blocking'> & {
  /** A session is over. */
  readonly ended: (session: string) => void;
};

export class Agent {
  readonly #d: AgentDeps;
  readonly sessions: Sessions;
  readonly copies: Copies;
  readonly driver: Driver;

  constructor(deps: AgentDeps) {
    this.#d = deps;
    const { node, homes } = deps;
    this.sessions = new Sessions(node.clock, (session) => this.#over(session));
    this.copies = new Copies(node, homes);
    this.driver = new Driver({
      ...{ ...deps, copies: this.copies },
      blocking: (lock, mode) => this.sessions.blocking(lock.session, lock.ref, mode),
    });
  }

  /** Locks that its client had in the former life; whoever is master of them has to fetch them. */
  resume(session: Session, locks: ResumeRequest['locks']): void {
    for (const { ref, op, lockspace, resource, mode, token, value, copy, ...q } of locks) {
      if (session.locks.has(ref)) continue;
      const home = this.#d.homes.use(keyOf(lockspace, resource, q.parents));
      const { lkid, valueSeq, valueKnown, ranges = [] } = copy;
      const { persistent, bast } = q;
      const lock = newAgentLock({ lkid, ref, op, session, home, persistent, bast });
      Object.assign(lock, { granted: mode, value, valueSeq, valueKnown, ranges });
      if (token !== undefined) lock.token = tokenOf(token);
      if (q.xid !== undefined) lock.who = { ...lock.who, xid: q.xid };
      this.#d.homes.lose(home);
      // Its parent may have been given up since an earlier page.
      this.copies.add(lock, q.parent === undefined ? undefined : session.locks.get(q.parent));
      if (!q.giving) continue;
      const giving = { flags: bitsOf(q.giving.flags), value: q.giving.value };
      const { mode: to, range } = q.giving;
      if (range) lock.ranges = lowered(lock.ranges, range);
      if (to) {
        const { mode: granted, ...written } = afterwards(lock, mode, { ...giving, mode: to });
        Object.assign(lock, written, { granted });
      } else void this.#letGo(lock, { ...giving, died: false });
    }
  }

  async lock(q: LockRequest, signal: AbortSignal): Promise<LockReply> {
    const session = this.sessions.get(q.session);
    if (!session) return fail('ESRCH', 'the session is over: its locks are lost');
    const flags = bitsOf(q.flags);
    let known = session.locks.get(q.ref);
    const done = known ? known.op - known.opsBefore : 0;
    if (known && q.op <= done) {
      if (q.op < done) return fail('EEXIST', `operation ${q.op} of lock ${q.ref} is long over`);
      const heard = this.#hears(known, signal);
      const reply = (await known.pending?.done) ?? known.reply;
      if (!this.#d.node.leased) await this.#d.node.whenLeased();
      heard();
      return reply ?? fail('EEXIST', `lock ${q.ref} is in use`);
    }
    if (!known && q.op !== 1) return fail('ENOENT', `the session has no lock ${q.ref}`);
    if (!known) {
      const checked = checkRequest(q.mode, flags);
      if (!checked.ok) return checked;
    }
    if (q.range && !known) return fail('EINVAL', 'a byte range is for a lock that is held');
    const placed = placeOf(session, q);
    if (!placed.ok) return placed;
    const adopts = !known && (flags & flag.ORPHAN) !== 0;
    if (adopts) {
      const orphan = this.copies.orphans.find(placed.value.key, q.mode);
      if (!orphan.ok) return orphan;
      known = this.copies.adopt(orphan.value, session, q.ref, placed.value.parent);
    }
    if (known?.pending || known?.leaving) return fail('EBUSY', 'the lock waits, or is given up');
    if (q.range && !q.test && withRange(known?.ranges ?? [], q.range).length > rangesMax)
      return fail('ENOLCK', `more than ${rangesMax} pieces of a resource for one owner`);
    const lock = known ?? this.#newLock(session, q, placed.value);
    lock.op = lock.opsBefore + q.op;
    lock.callers = 0;
    lock.bast = q.bast ?? lock.bast;
    if (q.xid !== undefined) lock.who = { ...lock.who, xid: q.xid };
    const start = Promise.withResolvers<LockReply>();
    const pending: Pending = {
      // To adopt is a conversion to the same mode: its owner before is fenced off by a new token.
      ...{ mode: q.mode, flags: adopts ? 0 : flags, value: q.value, told: undefined },
      ...{ range: q.range, test: q.test ?? false },
      long: undefined,
      wake: () => {},
      withdrawn: undefined,
      done: start.promise,
    };
    lock.pending = pending;
    const timer =
      q.waitMs === undefined
        ? undefined
        : this.#d.node.clock.after(q.waitMs, () => void this.driver.withdraw(lock, 'ETIMEDOUT'));
    const heard = this.#hears(lock, signal);
    const outcome = await this.driver.drive(lock, pending, !known);
    timer?.cancel();
    // It is held from now on, also where the client hears of it later: a new master has to know of it.
    lock.pending = undefined;
    const reply = replyOf(lock, outcome);
    lock.reply = reply;
    if (lock.granted === undefined) this.copies.drop(lock);
    if (!this.#d.node.leased) await this.#d.node.whenLeased();
    start.resolve(reply);
    if (adopts && !reply.ok && this.copies.has(lock)) this.copies.orphan(lock);
    heard();
    return reply;
  }

  /** Its client waits for the newest operation, until what this returns is called. */
  #hears(lock: AgentLock, signal: AbortSignal): () => void {
    const { op } = lock;
    lock.callers++;
    const gone = (): void => {
      if (lock.op === op) lock.callers--;
      this.#d.node.clock.after(sessionMs, () => this.#unheard(lock, op));
    };
    signal.addEventListener('abort', gone);
    return () => signal.removeEventListener('abort', gone);
  }

  /** Whose call was cut short asks again soon. If not, nobody would ever give up what is granted. */
  #unheard(lock: AgentLock, op: number): void {
    const { session } = lock;
    const isTheirs = this.copies.has(lock) && this.sessions.get(session.who.session) === session;
    if (lock.callers > 0 || lock.op !== op || !isTheirs) return;
    if (op === 1) void this.#letGo(lock, { flags: 0, died: false });
    else if (lock.pending) void this.driver.withdraw(lock, 'ECANCELED');
  }

  #newLock(session: Session, q: LockRequest, { key, parent }: Place): AgentLock {
    const { ref, op, bast = false } = q;
    const persistent = q.flags?.includes('PERSISTENT') ?? false;
    const [lkid, home] = [this.copies.nextLkid(), this.#d.homes.use(key)];
    const lock = newAgentLock({ lkid, ref, op, session, home, persistent, bast });
    this.copies.add(lock, parent);
    return lock;
  }

  /** Gives up what nobody has adopted; how many these were. */
  async purge(q: RequestOf<typeof dlm.ops.purge>): Promise<number> {
    const purged = this.copies.orphans.of(q.lockspace, q.pid);
    for (const lock of purged) this.copies.orphans.delete(lock);
    await Promise.all(purged.map((lock) => this.#letGo(lock, { flags: 0, died: true })));
    return purged.length;
  }

  async unlock(
    q: RequestOf<typeof dlm.ops.unlock>,
  ): Promise<Reply<Record<string, never>, 'EBUSY' | 'ENOENT' | 'ESRCH'>> {
    const lock = this.#find(q);
    if (!lock.ok) return lock;
    if (lock.value.pending && !q.force)
      return fail('EBUSY', 'the lock waits: cancel that first, or use force');
    if (lock.value.children > 0 && !q.force)
      return fail('EBUSY', `${lock.value.children} locks are under it: first these, or use force`);
    const giving = { flags: bitsOf(q.flags), value: q.value, died: false };
    await this.#letGoWithAll(lock.value, giving);
    // Where this node is out, the lock was taken from it, and others have never seen that value.
    if (!this.#d.node.leased) await this.#d.node.whenLeased();
    return ok({});
  }

  async cancel(
    q: RequestOf<typeof dlm.ops.cancel>,
  ): Promise<Reply<Record<string, never>, 'EBUSY' | 'ENOENT' | 'ESRCH'>> {
    const lock = this.#find(q);
    if (!lock.ok) return lock;
    if (!lock.value.pending) return fail('EBUSY', 'nothing is pending');
    const reply = await this.driver.cancel(lock.value);
    return reply && !reply.ok && reply.errno === 'ECANCELED'
      ? ok({})
      : fail('EBUSY', 'it was over before it could be cancelled');
  }

  #find(q: { session: string; ref: number }): Reply<AgentLock, 'ENOENT' | 'ESRCH'> {
    const session = this.sessions.get(q.session);
    if (!session) return fail('ESRCH', 'the session is over: its locks are lost');
    const lock = session.locks.get(q.ref);
    return lock && !lock.leaving ? ok(lock) : fail('ENOENT', `the session has no lock ${q.ref}`);
  }

  /** With the locks under it, from below. Nothing comes under one that is leaving. [VMS: LCK$M_DEQALL] */
  async #letGoWithAll(lock: AgentLock, q: Giving): Promise<void> {
    if (lock.leaving) return;
    lock.leaving = q;
    if (lock.children > 0)
      await Promise.all(
        [...lock.session.locks.values()]
          .filter((other) => other.parent === lock)
          .map((other) => this.#letGoWithAll(other, { flags: 0, died: q.died })),
      );
    await this.driver.release(lock, q);
  }

  async #letGo(lock: AgentLock, q: Giving): Promise<void> {
    if (lock.leaving) return;
    lock.leaving = q;
    await this.driver.release(lock, q);
  }

  /** Its client is gone. */
  #over(session: Session): void {
    this.#d.ended(session.who.session);
    for (const lock of [...session.locks.values()])
      if (lock.persistent && !lock.leaving) void this.#abandon(lock);
      else void this.#letGo(lock, { flags: 0, died: session.died });
  }

  /** What it waits for ends; what it holds is an orphan then. */
  async #abandon(lock: AgentLock): Promise<void> {
    if (lock.pending) await this.driver.cancel(lock);
    if (this.copies.has(lock) && !lock.leaving) this.copies.orphan(lock);
  }

  async close(id: string): Promise<void> {
    const session = this.sessions.get(id);
    if (!session) return;
    this.sessions.end(session, false);
    await Promise.all(
      [...session.locks.values()].map(async (lock) => {
        while (this.copies.has(lock) && !this.copies.orphans.has(lock) && !this.#d.node.stopped)
          await sleep(this.#d.node.clock, 1);
      }),
    );
  }
}
