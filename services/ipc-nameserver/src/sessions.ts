// The clients of this node's agent. A session lasts as long as its client lets hear of itself; it is what a
// process is on a single machine: undo and open ends end with it. It is also told what its queues notify.
import { fail, ok, type Reply } from '@ssi/contracts';
import type { Clock } from '@ssi/ports';

/** A client that is not heard of for this long is gone. */
export const sessionMs = 10_000;
/** One wait for notifications; the client asks again. */
const waitMs = 2_500;
const sessionsMax = 10_000;

export interface Session {
  readonly id: string;
  readonly label: string | undefined;
  /** Lasts until somebody ends it, heard of or not. */
  readonly lasts: boolean;
  heardMs: number;
  seq: number;
  told: { readonly seq: number; readonly handle: number }[];
  wake: (() => void) | undefined;
}

export class Sessions {
  readonly #clock: Clock;
  readonly #ended: (id: string) => void;
  readonly #sessions = new Map<string, Session>();

  constructor(clock: Clock, ended: (id: string) => void) {
    this.#clock = clock;
    this.#ended = ended;
  }

  get size(): number {
    return this.#sessions.size;
  }
  get(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  open(id: string, label: string | undefined, lasts = false): Reply<Session, 'EAGAIN'> {
    const known = this.#sessions.get(id);
    if (known) return ok(known);
    if (this.#sessions.size >= sessionsMax)
      return fail('EAGAIN', `${sessionsMax} sessions are open`);
    const heardMs = this.#clock.nowMs();
    const session: Session = { id, label, lasts, heardMs, seq: 0, told: [], wake: undefined };
    this.#sessions.set(id, session);
    return ok(session);
  }

  /** What came after `after`, as soon as there is any; empty after a while. */
  async wait(session: Session, after: number, signal: AbortSignal): Promise<Session['told']> {
    session.heardMs = this.#clock.nowMs();
    session.told = session.told.filter((t) => t.seq > after);
    session.wake?.();
    if (session.told.length === 0)
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
    return session.told;
  }

  /** A queue has something for it. */
  tell(id: string, handle: number): void {
    const session = this.#sessions.get(id);
    session?.told.push({ seq: ++session.seq, handle });
    session?.wake?.();
  }

  end(id: string): void {
    const session = this.#sessions.get(id);
    if (!session) return;
    this.#sessions.delete(id);
    session.wake?.();
    this.#ended(id);
  }

  sweep(): void {
    const nowMs = this.#clock.nowMs();
    for (const { id, lasts, heardMs } of [...this.#sessions.values()])
      if (!lasts && nowMs - heardMs > sessionMs) this.end(id);
  }
}
