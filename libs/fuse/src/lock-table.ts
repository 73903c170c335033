// The byte-range locks of one file, for file systems that keep their own: POSIX rules for who is in whose
// way, split and merged as ranges of one owner overlap, and a queue of those who wait. flock(2) locks are
// one range over everything, in a table of their own. [fcntl(2): advisory record locking]
import { errno } from './errno.ts';
import { lockType } from './flags.ts';

export interface Lock {
  readonly owner: bigint | string;
  /** First and last byte; Infinity: to the end. */
  readonly start: number;
  readonly end: number;
  readonly type: number;
  readonly pid: number;
  /** The open file that it was set through. */
  readonly fh: number;
}
export type LockRequest = Lock;

interface Waiter {
  readonly lock: Lock;
  done(answer: 0): void;
}

const overlap = (a: Lock, b: Lock): boolean => a.start <= b.end && b.start <= a.end;

export class LockTable {
  #held: readonly Lock[] = [];
  #waiting: readonly Waiter[] = [];

  get held(): readonly Lock[] {
    return this.#held;
  }

  /** A lock of somebody else that is in the way. */
  conflict(wanted: Lock): Lock | undefined {
    if (wanted.type === lockType.UNLOCK) return undefined;
    return this.#held.find(
      (l) =>
        l.owner !== wanted.owner &&
        overlap(l, wanted) &&
        (l.type === lockType.WRITE || wanted.type === lockType.WRITE),
    );
  }

  /** Sets, changes or takes off: 0, or -EAGAIN where somebody is in the way. */
  set(wanted: Lock): 0 | number {
    if (this.conflict(wanted)) return -errno.EAGAIN;
    this.#put(wanted);
    return 0;
  }

  /** As `set`, when nobody is in the way any more: 0, or -EINTR when the signal aborts first. */
  async wait(wanted: Lock, signal: AbortSignal): Promise<number> {
    if (this.set(wanted) === 0) return 0;
    return new Promise((answer) => {
      const waiter: Waiter = { lock: wanted, done: answer };
      this.#waiting = [...this.#waiting, waiter];
      signal.addEventListener('abort', () => {
        this.#waiting = this.#waiting.filter((w) => w !== waiter);
        answer(-errno.EINTR);
      });
    });
  }

  /** Takes off all that matches: an owner's at close, an open file's when it is gone. */
  drop(matches: (lock: Lock) => boolean): void {
    if (!this.#held.some(matches)) return;
    this.#held = this.#held.filter((l) => !matches(l));
    this.#wake();
  }

  #put(wanted: Lock): void {
    const others: Lock[] = [];
    for (const l of this.#held) {
      if (l.owner !== wanted.owner || !overlap(l, wanted)) others.push(l);
      else {
        if (l.start < wanted.start) others.push({ ...l, end: wanted.start - 1 });
        if (l.end > wanted.end) others.push({ ...l, start: wanted.end + 1 });
      }
    }
    if (wanted.type === lockType.UNLOCK) this.#held = others;
    else this.#held = merged(others, wanted);
    this.#wake();
  }

  /** In order of waiting: whoever nobody is in the way of any more. */
  #wake(): void {
    const next = this.#waiting.find((w) => !this.conflict(w.lock));
    if (!next) return;
    this.#waiting = this.#waiting.filter((w) => w !== next);
    next.done(0);
    this.#put(next.lock);
  }
}

/** With the new lock, joined to neighbours of the same owner and type. */
function merged(others: readonly Lock[], added: Lock): Lock[] {
  let lock = added;
  const apart: Lock[] = [];
  for (const l of others) {
    const joins =
      l.owner === lock.owner &&
      l.type === lock.type &&
      l.fh === lock.fh &&
      l.start <= lock.end + 1 &&
      lock.start <= l.end + 1;
    if (joins) {
      lock = { ...lock, start: Math.min(l.start, lock.start), end: Math.max(l.end, lock.end) };
    } else apart.push(l);
  }
  return [...apart, lock].sort((a, b) => a.start - b.start);
}
