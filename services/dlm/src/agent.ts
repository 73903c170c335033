// The owner's side: the sessions of this node's clients and the copies of their locks. Every operation is
// repeated until its master, or the next one, has answered; a copy is what a lost master is rebuilt from.
import {
  childKeyOf,
  type dlm,
  fail,
  keyOf,
  type LockGrant,
  type LockMode,
  type LockOutcome,
  type LockRange,
  lockDepthMax,
  ok,
  pathOf,
  type Reply,
  type RequestOf,
  rangesMax,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { bitsOf, checkRequest, flag } from './flags.ts';
import type { Home, Homes, Mastership, RebuiltLock } from './homes.ts';
import type { LocalNode } from './local-node.ts';
import type { AskRequest, ReleaseRequest } from './masters.ts';
import { rank, writesValue } from './modes.ts';
import { Orphans } from './orphans.ts';
import { lowered, type Segment, withRange } from './ranges.ts';
import type { Token } from './resource.ts';
import type { ResumeRequest } from './resuming.ts';
import { type Session, Sessions } from './sessions.ts';
import { tokenOf, tokenText } from './tokens.ts';

export type LockRequest = RequestOf<typeof dlm.ops.lock>;
export type LockErrno = (typeof dlm.ops.lock.errnos)[number];
export type LockReply = Reply<LockGrant, LockErrno>;

/** What waits is asked for again after this, and then ever more rarely. */
const againMinMs = 1_000;
const againMaxMs = 16_000;
const retryMs = 20;

/** A lock of a client of this node. */
export interface AgentLock {
  readonly lkid: number;
  /** Of its owner; what they were before stays where it is an orphan. */
  ref: number;
  session: Session;
  who: AskRequest['who'];
  readonly home: Home;
  /** Survives its owner. [DLM_LKF_PERSISTENT] */
  readonly persistent: boolean;
  /** The lock that this one is under, and how many are under this one: all of one session. */
  parent: AgentLock | undefined;
  children: number;
  /** Operations of the owners before the present one, which counts its own from 1. */
  opsBefore: number;
  bast: boolean;
  granted: LockMode | undefined;
  token: Token | undefined;
  value: Uint8Array | undefined;
  valueSeq: number;
  valueKnown: boolean;
  /** Byte ranges it has. */
  ranges: readonly Segment[];
  /** The newest operation, and its reply once it is over. */
  op: number;
  reply: LockReply | undefined;
  pending: Pending | undefined;
  /** Being given up, with what is to be written. */
  leaving: Giving | undefined;
}

interface Giving {
  readonly flags: number;
  readonly value?: Uint8Array | undefined;
  /** Its owner died. */
  readonly died: boolean;
}

interface Place {
  readonly key: string;
  readonly parent?: AgentLock;
}

interface Pending {
  readonly mode: LockMode;
  readonly flags: number;
  readonly value: Uint8Array | undefined;
  readonly range: LockRange | undefined;
  readonly test: boolean;
  /** Why it is withdrawn. */
  withdrawn: 'ECANCELED' | 'ETIMEDOUT' | undefined;
  /** The outcome; a grant is held from the moment that it is here. */
  told: LockOutcome | undefined;
  /** When it was queued, and when it is next said to wait for long; undefined: it is not queued. */
  long: { readonly sinceMs: number; nextMs: number } | undefined;
  /** Looks again: told, or the master was lost. */
  wake: () => void;
  readonly done: Promise<LockReply>;
}

export interface AgentDeps {
  /** A session is over. */
  readonly ended: (session: string) => void;
  readonly node: LocalNode;
  readonly homes: Homes;
  readonly ask: (to: number, q: AskRequest) => Promise<Reply<LockOutcome>>;
  readonly release: (to: number, q: ReleaseRequest) => Promise<Reply<unknown>>;
  /** What waits for so long may be in a deadlock. */
  readonly deadlockMs: number;
}

export class Agent {
  readonly #d: AgentDeps;
  readonly sessions: Sessions;
  readonly orphans = new Orphans();
  readonly #locks = new Map<number, AgentLock>();
  /** Queued, and perhaps part of a deadlock. */
  readonly #waiting = new Set<AgentLock>();
  readonly #byKey = new Map<string, Set<AgentLock>>();
  #lastLkid: number;

  constructor(deps: AgentDeps) {
    this.#d = deps;
    const { node } = deps;
    this.sessions = new Sessions(node.clock, (session) => this.#over(session));
    // Another life of this service counts from somewhere else.
    const life = Number.parseInt(node.ics.self.bootId.slice(0, 4), 16);
    this.#lastLkid = node.num * 2 ** 40 + life * 2 ** 24;
  }

  get size(): number {
    return this.#locks.size;
  }

  /** Numbers locks as no other life of this service in the same boot did. */
  countFrom(starts: number): void {
    this.#lastLkid = this.#d.node.num * 2 ** 40 + (starts % 2 ** 16) * 2 ** 24;
  }

  /** Locks that its client had in the former life; whoever is master of them has to fetch them. */
  resume(session: Session, locks: ResumeRequest['locks']): void {
    for (const { ref, op, lockspace, resource, mode, token, value, copy, ...q } of locks) {
      if (session.locks.has(ref)) continue;
      const key = keyOf(lockspace, resource, q.parents);
      const who = { ...session.who, ...(q.xid !== undefined && { xid: q.xid }) };
      // Its parent may have been given up since an earlier page.
      const parent = q.parent === undefined ? undefined : session.locks.get(q.parent);
      if (parent) parent.children++;
      const lock: AgentLock = {
        ...{ lkid: copy.lkid, ref, session, who, home: this.#d.homes.use(key) },
        ...{ persistent: q.persistent, bast: q.bast, granted: mode, value, parent, children: 0 },
        ...{ token: token === undefined ? undefined : tokenOf(token), op, opsBefore: 0 },
        ...{ valueSeq: copy.valueSeq, valueKnown: copy.valueKnown, reply: undefined },
        ...{ ranges: copy.ranges ?? [], pending: undefined, leaving: undefined },
      };
      this.#d.homes.lose(lock.home);
      this.#keep(lock);
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
      const reply = (await known.pending?.done) ?? known.reply;
      if (!this.#d.node.leased) await this.#d.node.whenLeased();
      return reply ?? fail('EEXIST', `lock ${q.ref} is in use`);
    }
    if (!known && q.op !== 1) return fail('ENOENT', `the session has no lock ${q.ref}`);
    if (!known) {
      const checked = checkRequest(q.mode, flags);
      if (!checked.ok) return checked;
    }
    if (q.range && !known) return fail('EINVAL', 'a byte range is for a lock that is held');
    const placed = this.#place(session, q);
    if (!placed.ok) return placed;
    const adopts = !known && (flags & flag.ORPHAN) !== 0;
    if (adopts) {
      const orphan = this.orphans.find(placed.value.key, q.mode);
      if (!orphan.ok) return orphan;
      known = this.#adopt(orphan.value, session, q.ref, placed.value.parent);
    }
    if (known?.pending || known?.leaving) return fail('EBUSY', 'the lock waits, or is given up');
    if (q.range && !q.test && withRange(known?.ranges ?? [], q.range).length > rangesMax)
      return fail('ENOLCK', `more than ${rangesMax} pieces of a resource for one owner`);
    const lock = known ?? this.#newLock(session, q, placed.value);
    lock.op = lock.opsBefore + q.op;
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
        : this.#d.node.clock.after(q.waitMs, () => void this.#withdraw(lock, 'ETIMEDOUT'));
    const gaveUp = (): void => void this.#withdraw(lock, 'ECANCELED');
    signal.addEventListener('abort', gaveUp);
    const outcome = await this.#drive(lock, pending, !known);
    this.#waiting.delete(lock);
    timer?.cancel();
    signal.removeEventListener('abort', gaveUp);
    // It is held from now on, also where the client hears of it later: a new master has to know of it.
    lock.pending = undefined;
    const reply = this.#settle(lock, outcome);
    lock.reply = reply;
    if (!this.#d.node.leased) await this.#d.node.whenLeased();
    start.resolve(reply);
    if (adopts && !reply.ok && this.#locks.has(lock.lkid)) this.#orphan(lock);
    // Nobody is there to hear of it: what was granted would never be given up.
    if (signal.aborted && !known && reply.ok) void this.#letGo(lock, { flags: 0, died: false });
    return reply;
  }

  /** Where a new lock belongs. [VMS: SS$_PARNOTGRANT, SS$_EXDEPTH] */
  #place(session: Session, q: LockRequest): Reply<Place, 'EINVAL'> {
    if (q.parent === undefined) return ok({ key: keyOf(q.lockspace, q.resource) });
    const parent = session.locks.get(q.parent);
    if (!parent || parent.granted === undefined || parent.leaving)
      return fail('EINVAL', `lock ${q.parent} of the session is not granted: it can be no parent`);
    if (!parent.home.key.startsWith(`${q.lockspace}/`))
      return fail('EINVAL', `lock ${q.parent} is of another lockspace`);
    if (pathOf(parent.home.key).length >= lockDepthMax)
      return fail('EINVAL', `more than ${lockDepthMax} resources one under another`);
    return ok({ key: childKeyOf(parent.home.key, q.resource), parent });
  }

  #newLock(session: Session, q: LockRequest, { key, parent }: Place): AgentLock {
    const lock: AgentLock = {
      ...{ lkid: ++this.#lastLkid, ref: q.ref, session, who: session.who },
      ...{ home: this.#d.homes.use(key), persistent: q.flags?.includes('PERSISTENT') ?? false },
      ...{ parent: undefined, children: 0 },
      ...{ bast: q.bast ?? false, granted: undefined, token: undefined, value: undefined },
      ...{ ranges: [], valueSeq: 0, valueKnown: false, op: q.op, opsBefore: 0, reply: undefined },
      ...{ pending: undefined, leaving: undefined },
    };
    this.#putUnder(lock, parent);
    this.#keep(lock);
    return lock;
  }

  #keep(lock: AgentLock): void {
    lock.session.locks.set(lock.ref, lock);
    this.#locks.set(lock.lkid, lock);
    const others = this.#byKey.get(lock.home.key);
    if (others) others.add(lock);
    else this.#byKey.set(lock.home.key, new Set([lock]));
  }

  #drop(lock: AgentLock): void {
    if (!this.#locks.delete(lock.lkid)) return;
    const others = this.#byKey.get(lock.home.key);
    others?.delete(lock);
    if (others?.size === 0) this.#byKey.delete(lock.home.key);
    this.orphans.delete(lock);
    this.#putUnder(lock, undefined);
    if (lock.session.locks.get(lock.ref) === lock) lock.session.locks.delete(lock.ref);
    this.#d.homes.unuse(lock.home);
  }

  #adopt(
    orphan: AgentLock,
    session: Session,
    ref: number,
    parent: AgentLock | undefined,
  ): AgentLock {
    this.orphans.delete(orphan);
    this.#putUnder(orphan, parent);
    orphan.session = session;
    orphan.who = session.who;
    orphan.ref = ref;
    orphan.opsBefore = orphan.op;
    session.locks.set(ref, orphan);
    return orphan;
  }

  /** Its owner is gone, and it stays; under no lock, since those above it may go. */
  #orphan(lock: AgentLock): void {
    lock.session.locks.delete(lock.ref);
    this.#putUnder(lock, undefined);
    this.orphans.add(lock);
  }

  #putUnder(lock: AgentLock, parent: AgentLock | undefined): void {
    if (lock.parent) lock.parent.children--;
    lock.parent = parent;
    if (parent) parent.children++;
  }

  /** Gives up what nobody has adopted; how many these were. */
  async purge(q: RequestOf<typeof dlm.ops.purge>): Promise<number> {
    const purged = this.orphans.of(q.lockspace, q.pid);
    for (const lock of purged) this.orphans.delete(lock);
    await Promise.all(purged.map((lock) => this.#letGo(lock, { flags: 0, died: true })));
    return purged.length;
  }

  /** Asks the master, and the next one where that is lost, until there is an outcome. */
  async #drive(lock: AgentLock, p: Pending, isNew: boolean): Promise<LockOutcome> {
    const { node, homes } = this.#d;
    const { home } = lock;
    /** A master that may have it queued without this node's knowledge. */
    let doubt: Mastership | undefined;
    let againMs = againMinMs;
    for (;;) {
      if (p.told) return p.told;
      if (
        p.withdrawn &&
        (doubt === undefined || home.lost || !isSame(home.at, doubt)) &&
        !this.#goesDown(lock, p)
      )
        return refused(p.withdrawn);
      const found = homes.find(home);
      const at = 'then' in found ? await this.#orWithdrawn(p, found) : found;
      if (at === undefined || node.life === undefined) continue;
      const reply = await this.#d.ask(at.node, {
        ...{ life: node.life, key: home.key, lkid: lock.lkid, op: lock.op, convert: !isNew },
        ...{ mode: p.mode, flags: p.flags, bast: lock.bast, who: lock.who },
        ...(p.value && { value: p.value }),
        ...(p.range && { range: p.range, test: p.test }),
      });
      // What was on its way when a refusal came is a new lock to its master, which nobody has.
      if (p.told && lock.granted === undefined) await this.#takeBack(lock, at);
      const same = home.at === at && !home.lost;
      if (reply.ok) doubt = at;
      if (reply.ok && reply.value.state !== 'queued') {
        // What a lost master has granted is not known to the next one.
        if (same && !p.told) this.#take(lock, p, reply.value);
        continue;
      }
      if (!reply.ok) {
        if (reply.errno === 'EREMCHG') this.#notMaster(home, at);
        else if (reply.errno !== 'EHOSTUNREACH') doubt = at;
        await sleep(node.clock, retryMs);
        continue;
      }
      this.#queued(lock, p);
      // Until it is told, or the master is lost. What was told before this reply is there already.
      let late = false;
      const timer = node.clock.after(againMs, () => {
        late = true;
        p.wake();
      });
      while (!p.told && !late && home.at === at && !home.lost)
        await new Promise<void>((wake) => {
          p.wake = wake;
        });
      timer.cancel();
      // The word of it may have been lost on its way: asking again is harmless.
      againMs = Math.min(2 * againMs, againMaxMs);
    }
  }

  #queued(lock: AgentLock, p: Pending): void {
    const nowMs = this.#d.node.clock.nowMs();
    p.long ??= { sinceMs: nowMs, nextMs: nowMs + this.#d.deadlockMs };
    // Alone with itself it can only be in a deadlock by what it holds meanwhile.
    const mayBe = lock.who.xid !== undefined || lock.granted !== undefined;
    if (mayBe && !(p.flags & flag.NODLCKWT)) this.#waiting.add(lock);
  }

  /** Whether something waits for `deadlockMs`, or twice as long as when it was last said. */
  waitsLong(): boolean {
    const nowMs = this.#d.node.clock.nowMs();
    let any = false;
    for (const { pending } of this.#waiting) {
      if (!pending?.long || nowMs < pending.long.nextMs) continue;
      any = true;
      const { sinceMs } = pending.long;
      pending.long.nextMs = nowMs + Math.min(nowMs - sinceMs, againMaxMs);
    }
    return any;
  }

  async #takeBack({ home, lkid, op }: AgentLock, at: Mastership): Promise<void> {
    const { node } = this.#d;
    while (home.at === at && !home.lost && node.life !== undefined && !node.stopped) {
      const q = { life: node.life, key: home.key, lkid, op, flags: 0, force: true };
      const reply = await this.#d.release(at.node, q);
      if (reply.ok || reply.errno === 'ENOENT' || reply.errno === 'EREMCHG') return;
      await sleep(node.clock, retryMs);
    }
  }

  /** Another is looked for, unless something is held there: then that one comes by itself. */
  #notMaster(home: Home, at: Mastership): void {
    if (this.held(home.key).length === 0) this.#d.homes.wrong(home, at);
  }

  /** It is done, whatever becomes of its master. */
  #goesDown(lock: AgentLock, p: Pending): boolean {
    return lock.granted !== undefined && rank[p.mode] <= rank[lock.granted];
  }

  #orWithdrawn(p: Pending, found: Promise<Mastership>): Promise<Mastership | undefined> {
    return new Promise((done) => {
      p.wake = () => {
        if (p.withdrawn || p.told) done(undefined);
      };
      void found.then(done);
    });
  }

  /** The outcome is here. */
  #take(lock: AgentLock, p: Pending, outcome: LockOutcome): void {
    p.told = outcome;
    if (outcome.state !== 'granted') return;
    const { mode, token, value, valueSeq, valueInvalid } = outcome;
    lock.granted = mode;
    if (p.range && !p.test) lock.ranges = withRange(lock.ranges, p.range);
    lock.token = token;
    lock.valueKnown = (p.flags & flag.VALBLK) !== 0 && !valueInvalid;
    lock.valueSeq = valueSeq;
    if (p.flags & flag.VALBLK) lock.value = value ?? p.value;
  }

  #settle(lock: AgentLock, outcome: LockOutcome): LockReply {
    if (outcome.state !== 'granted') {
      const errno = outcome.state === 'refused' ? outcome.errno : 'ECANCELED';
      const detail = outcome.state === 'refused' ? outcome.detail : '';
      if (lock.granted === undefined) this.#drop(lock);
      return fail(errno, detail);
    }
    const { mode, token, value, valueInvalid, altMode, demoted } = outcome;
    return ok({
      mode,
      ...(token && { token: tokenText(token) }),
      ...(value && { value }),
      valueInvalid,
      ...(altMode && { altMode }),
      ...(demoted && { demoted }),
      copy: {
        ...{ lkid: lock.lkid, valueSeq: lock.valueSeq, valueKnown: lock.valueKnown },
        ...(lock.ranges.length > 0 && { ranges: [...lock.ranges] }),
      },
      ...(outcome.inTheWay && { inTheWay: outcome.inTheWay }),
    });
  }

  /** From a master: what became of a queued operation, or what a lock blocks. */
  told(q: RequestOf<typeof dlm.ops.told>, from: number): void {
    const lock = this.#locks.get(q.lkid);
    const { at, lost } = lock?.home ?? {};
    if (!lock || lock.op !== q.op || at?.node !== from || at.life !== q.life || lost) return;
    if (q.outcome && lock.pending && !lock.pending.told) {
      this.#take(lock, lock.pending, q.outcome);
      lock.pending.wake();
    }
    if (q.blocking && !this.orphans.has(lock))
      this.sessions.blocking(lock.session, lock.ref, q.blocking);
  }

  /** What is pending there waits for the next master. */
  masterLost(num: number): void {
    this.#d.homes.masterLost(num);
    for (const home of this.#d.homes.lost()) this.masterFound(home.key);
  }

  /** Its master is another one, or none, from now on. */
  masterFound(key: string): void {
    for (const lock of this.#byKey.get(key) ?? []) lock.pending?.wake();
  }

  /**
   * To a new master, for what it is to know. It has not more than that from now on, also where what is
   * pending is refused there.
   */
  fetched(key: string): RebuiltLock[] {
    this.masterFound(key);
    for (const lock of this.#byKey.get(key) ?? []) lock.ranges = afterwardsRanges(lock);
    return this.held(key);
  }

  /** What waits is asked for anew; what goes down is down already. */
  held(key: string): RebuiltLock[] {
    return [...(this.#byKey.get(key) ?? [])].flatMap((lock) => {
      const { granted, leaving } = lock;
      if (granted === undefined) return [];
      const pending = lock.pending?.told ? undefined : lock.pending;
      const ranges = afterwardsRanges(lock);
      const { mode, value, valueSeq, valueKnown } = afterwards(lock, granted, leaving ?? pending);
      return [
        {
          ...{ lkid: lock.lkid, op: pending ? lock.op - 1 || 1 : lock.op, mode, bast: lock.bast },
          ...(lock.token && { token: lock.token }),
          ...(value && { value }),
          ...(ranges.length > 0 && { ranges: [...ranges] }),
          ...{ valueSeq, valueKnown, who: lock.who },
        },
      ];
    });
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
    return ok({});
  }

  async cancel(
    q: RequestOf<typeof dlm.ops.cancel>,
  ): Promise<Reply<Record<string, never>, 'EBUSY' | 'ENOENT' | 'ESRCH'>> {
    const lock = this.#find(q);
    if (!lock.ok) return lock;
    if (!lock.value.pending) return fail('EBUSY', 'nothing is pending');
    const done = lock.value.pending.done;
    void this.#withdraw(lock.value, 'ECANCELED');
    const reply = await done;
    return !reply.ok && reply.errno === 'ECANCELED'
      ? ok({})
      : fail('EBUSY', 'it was over before it could be cancelled');
  }

  #find(q: { session: string; ref: number }): Reply<AgentLock, 'ENOENT' | 'ESRCH'> {
    const session = this.sessions.get(q.session);
    if (!session) return fail('ESRCH', 'the session is over: its locks are lost');
    const lock = session.locks.get(q.ref);
    return lock && !lock.leaving ? ok(lock) : fail('ENOENT', `the session has no lock ${q.ref}`);
  }

  /** Until what is pending is over, one way or the other. */
  async #withdraw(lock: AgentLock, errno: 'ECANCELED' | 'ETIMEDOUT'): Promise<void> {
    const p = lock.pending;
    if (!p || p.withdrawn) return;
    p.withdrawn = errno;
    p.wake();
    while (lock.pending === p && !p.told && !this.#d.node.stopped) {
      const { at, lost } = lock.home;
      const { life } = this.#d.node;
      if (at && !lost && life !== undefined)
        await this.#d.release(at.node, {
          ...{ life, key: lock.home.key, lkid: lock.lkid, op: lock.op, cancel: errno },
          ...{ flags: 0, force: false },
        });
      if (lock.pending === p && !p.told) await sleep(this.#d.node.clock, retryMs);
    }
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
    await this.#release(lock, q);
  }

  async #letGo(lock: AgentLock, q: Giving): Promise<void> {
    if (lock.leaving) return;
    lock.leaving = q;
    await this.#release(lock, q);
  }

  /** Gives a lock up at its master, whichever that is by then. */
  async #release(lock: AgentLock, q: Giving): Promise<void> {
    if (lock.pending) {
      const { done } = lock.pending;
      void this.#withdraw(lock, 'ECANCELED');
      await done;
    }
    const { node, homes } = this.#d;
    while (this.#locks.has(lock.lkid) && !node.stopped) {
      const at = await homes.find(lock.home);
      if (node.life === undefined) return;
      const reply = await this.#d.release(at.node, {
        ...{ life: node.life, key: lock.home.key, lkid: lock.lkid, op: lock.op, flags: q.flags },
        ...(q.value && { value: q.value }),
        ...{ force: true, died: q.died },
      });
      // A master that has come for what is held meanwhile may have it from before.
      const same = lock.home.at === at && !lock.home.lost;
      if (same && (reply.ok || reply.errno === 'ENOENT' || reply.errno === 'EREMCHG')) break;
      if (reply.ok) continue;
      await sleep(node.clock, retryMs);
    }
    this.#drop(lock);
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
    if (lock.pending) {
      const { done } = lock.pending;
      void this.#withdraw(lock, 'ECANCELED');
      await done;
    }
    if (this.#locks.has(lock.lkid) && !lock.leaving) this.#orphan(lock);
  }

  async close(id: string): Promise<void> {
    const session = this.sessions.get(id);
    if (!session) return;
    this.sessions.end(session, false);
    await Promise.all(
      [...session.locks.values()].map(async (lock) => {
        while (this.#locks.has(lock.lkid) && !this.orphans.has(lock) && !this.#d.node.stopped)
          await sleep(this.#d.node.clock, 1);
      }),
    );
  }
}

/** Also where it has fetched anew meanwhile. */
const isSame = (a: Mastership | undefined, b: Mastership): boolean =>
  a?.node === b.node && a.since.transid === b.since.transid && a.since.n === b.since.n;

/** What is on its way down is down already, whoever its master is, with what it was to write. */
function afterwards(
  lock: AgentLock,
  granted: LockMode,
  on: { mode?: LockMode | undefined; flags: number; value?: Uint8Array | undefined } | undefined,
): Pick<AgentLock, 'value' | 'valueSeq' | 'valueKnown'> & { mode: LockMode } {
  const { value, valueSeq, valueKnown } = lock;
  if (!on) return { mode: granted, value, valueSeq, valueKnown };
  const to = on.mode ?? 'NL';
  // PR and CW cover CR both, and which of them it has now only the lost master knew.
  const sideways = (granted === 'PR' && to === 'CW') || (granted === 'CW' && to === 'PR');
  const mode = sideways ? 'CR' : rank[to] < rank[granted] ? to : granted;
  const writes = rank[to] <= rank[granted] && writesValue(granted);
  if (writes && on.flags & flag.VALBLK && on.value)
    return { mode, value: on.value, valueSeq: valueSeq + 1, valueKnown: true };
  return { mode, value, valueSeq, valueKnown: valueKnown || on.mode === undefined };
}

/** As for modes: what may have been given up, or made weaker, at a lost master counts as that. */
function afterwardsRanges({ ranges, leaving, pending }: AgentLock): readonly Segment[] {
  if (leaving) return [];
  return pending?.range && !pending.test && !pending.told ? lowered(ranges, pending.range) : ranges;
}

const refused = (errno: 'ECANCELED' | 'ETIMEDOUT'): LockOutcome => ({
  ...{ state: 'refused', errno },
  detail: errno === 'ETIMEDOUT' ? 'not granted in the time given' : 'cancelled',
});
