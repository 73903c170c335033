// The clients of this node's lock manager. A session lasts as long as its client lets hear of itself;
// each is told by `asts` what its locks block.
import { fail, type LockMode, ok, type Reply } from '@ssi/contracts';
import type { Clock } from '@ssi/ports';
import type { AgentLock } from './agent-lock.ts';

/** A client that is not heard of for this long is gone. */
export const sessionMs = 10_000;
/** One of a process whose end vproc tells: it may be slow, stand still, or be on its way to another node. */
const followedMs = 120_000;
/** One wait for blocking ASTs; the client asks again. */
const waitMs = 2_500;
export const sessionsMax = 10_000;
/** Blocking ASTs kept for a client that does not fetch them; the oldest go first: the next need repeats them. */
const blockingMax = 10_000;

export interface Blocking {
  readonly seq: number;
  readonly ref: number;
  readonly mode: LockMode;
}

export interface Session {
  readonly who: { readonly session: string; readonly pid?: number; readonly label?: string };
  readonly locks: Map<number, AgentLock>;
  heardMs: number;
  /** How long it may be silent, ms. */
  silentMs: number;
  seq: number;
  blocking: Blocking[];
  wake: (() => void) | undefined;
  /** It ended without saying so. */
  died: boolean;
}

export class Sessions {
  readonly #clock: Clock;
  readonly #over: (session: Session) => void;
  readonly #sessions = new Map<string, Session>();

  constructor(clock: Clock, over: (session: Session) => void) {
    this.#clock = clock;
    this.#over = over;
  }

  get size(): number {
    return this.#sessions.size;
  }

  get(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  open(q: {
    session: string;
    pid?: number | undefined;
    label?: string | undefined;
  }): Reply<Session, 'EAGAIN'> {
    const known = this.#sessions.get(q.session);
    if (known) return ok(known);
    if (this.#sessions.size >= sessionsMax)
      return fail('EAGAIN', `${sessionsMax} sessions are open`);
    const session: Session = {
      who: {
        session: q.session,
        ...(q.pid !== undefined && { pid: q.pid }),
        ...(q.label !== undefined && { label: q.label }),
      },
      locks: new Map(),
      heardMs: this.#clock.nowMs(),
      silentMs: sessionMs,
      seq: 0,
      blocking: [],
      wake: undefined,
      died: false,
    };
    this.#sessions.set(q.session, session);
    return ok(session);
  }

  /** Blocking ASTs after `after`, as soon as there are any; empty after a while. */
  async wait(session: Session, after: number, signal: AbortSignal): Promise<Blocking[]> {
    session.heardMs = this.#clock.nowMs();
    session.blocking = session.blocking.filter((b) => b.seq > after);
    session.wake?.();
    if (session.blocking.length === 0)
      await new Promise<void>((done) => {
        const end = (): void => {
          timer.cancel();
          signal.removeEventListener('abort', end);
          if (session.wake === end) session.wake = undefined;
          done();
        };
        const timer = this.#clock.after(waitMs, end);
        signal.addEventListener('abort', end);
        session.wake = end;
      });
    // A client whose call ended early may be gone: only the end of a wait says that it is there.
    if (!signal.aborted) session.heardMs = this.#clock.nowMs();
    return session.blocking.filter((b) => b.seq > after);
  }

  blocking(session: Session, ref: number, mode: LockMode): void {
    session.blocking.push({ seq: ++session.seq, ref, mode });
    if (session.blocking.length > blockingMax) session.blocking.shift();
    session.wake?.();
  }

  end(session: Session, died: boolean): void {
    if (!this.#sessions.delete(session.who.session)) return;
    session.died = died;
    session.wake?.();
    this.#over(session);
  }

  hasOf(pid: number): boolean {
    return [...this.#sessions.values()].some((s) => s.who.pid === pid);
  }

  /** Whether the end of that process will be told. */
  follows(pid: number, follows: boolean): void {
    for (const session of this.#sessions.values())
      if (session.who.pid === pid) session.silentMs = follows ? followedMs : sessionMs;
  }

  /** The process it belonged to has ended. */
  exited(pid: number): void {
    for (const session of [...this.#sessions.values()])
      if (session.who.pid === pid) this.end(session, true);
  }

  sweep(): void {
    const nowMs = this.#clock.nowMs();
    for (const session of [...this.#sessions.values()])
      if (nowMs - session.heardMs > session.silentMs) this.end(session, true);
  }
}
