// Takes each operation of an agent to its master, and to the next one where that is lost, until it is over.
import type { dlm, LockMode, LockOutcome, Reply, RequestOf } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { AgentLock, Giving, LockReply, Pending } from './agent-lock.ts';
import type { Copies } from './copies.ts';
import { flag } from './flags.ts';
import type { Home, Homes, Mastership } from './homes.ts';
import type { LocalNode } from './local-node.ts';
import type { AskRequest, ReleaseRequest } from './mastered.ts';
import { rank } from './modes.ts';
import { withRange } from './ranges.ts';

/** What waits is asked for again after this, and then ever more rarely. */
const againMinMs = 1_000;
const againMaxMs = 16_000;
const retryMs = 20;

export interface DriverDeps {
  readonly node: LocalNode;
  readonly homes: Homes;
  readonly copies: Copies;
  readonly ask: (to: number, q: AskRequest) => Promise<Reply<LockOutcome>>;
  readonly release: (to: number, q: ReleaseRequest) => Promise<Reply<unknown>>;
  /** What waits for so long may be in a deadlock. */
  readonly deadlockMs: number;
  /** A lock stands in the way of that mode. */
  readonly blocking: (lock: AgentLock, mode: LockMode) => void;
}

export class Driver {
  readonly #d: DriverDeps;
  /** Queued, and perhaps part of a deadlock. */
  readonly #waiting = new Set<AgentLock>();

  constructor(deps: DriverDeps) {
    this.#d = deps;
  }

  /** Asks the master, and the next one where that is lost, until there is an outcome. */
  async drive(lock: AgentLock, p: Pending, isNew: boolean): Promise<LockOutcome> {
    const outcome = await this.#untilOver(lock, p, isNew);
    this.#waiting.delete(lock);
    return outcome;
  }

  async #untilOver(lock: AgentLock, p: Pending, isNew: boolean): Promise<LockOutcome> {
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

  /** Another is looked for, unless something is held there: then that one comes by itself. */
  #notMaster(home: Home, at: Mastership): void {
    if (this.#d.copies.held(home.key).length === 0) this.#d.homes.wrong(home, at);
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

  /** From a master: what became of a queued operation, or what a lock blocks. */
  told(q: RequestOf<typeof dlm.ops.told>, from: number): void {
    const lock = this.#d.copies.get(q.lkid);
    const { at, lost } = lock?.home ?? {};
    if (!lock || lock.op !== q.op || at?.node !== from || at.life !== q.life || lost) return;
    if (q.outcome && lock.pending && !lock.pending.told) {
      this.#take(lock, lock.pending, q.outcome);
      lock.pending.wake();
    }
    if (q.blocking && !this.#d.copies.orphans.has(lock)) this.#d.blocking(lock, q.blocking);
  }

  /** What is pending there waits for the next master. */
  masterLost(num: number): void {
    this.#d.homes.masterLost(num);
    for (const home of this.#d.homes.lost()) this.#d.copies.masterFound(home.key);
  }

  /** Until what is pending is over, one way or the other. */
  async withdraw(lock: AgentLock, errno: 'ECANCELED' | 'ETIMEDOUT'): Promise<void> {
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

  /** Ends what is pending; what came of it. */
  async cancel(lock: AgentLock): Promise<LockReply | undefined> {
    const done = lock.pending?.done;
    void this.withdraw(lock, 'ECANCELED');
    return done;
  }

  /** Gives a lock up at its master, whichever that is by then. */
  async release(lock: AgentLock, q: Giving): Promise<void> {
    if (lock.pending) await this.cancel(lock);
    const { node, homes, copies } = this.#d;
    while (copies.has(lock) && !node.stopped) {
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
    copies.drop(lock);
  }
}

/** Also where it has fetched anew meanwhile. */
const isSame = (a: Mastership | undefined, b: Mastership): boolean =>
  a?.node === b.node && a.since.transid === b.since.transid && a.since.n === b.since.n;

const refused = (errno: 'ECANCELED' | 'ETIMEDOUT'): LockOutcome => ({
  ...{ state: 'refused', errno },
  detail: errno === 'ETIMEDOUT' ? 'not granted in the time given' : 'cancelled',
});
