// Delayed transitions on the Clock port. A timer knows when it is due, so a snapshot carries the time
// that remains and a restored machine waits no longer than the first one would have.
import type { Clock, Timer } from '@ssi/ports';

/** A timer as a snapshot carries it. */
export interface TimerJson {
  readonly id: string;
  readonly event: { readonly type: string };
  readonly remainingMs: number;
}

export interface ArmedTimer {
  readonly id: string;
  readonly event: { readonly type: string };
  readonly dueMs: number;
  readonly timer: Timer;
}

export class Timers {
  private readonly armed = new Map<string, ArmedTimer>();
  private readonly clock: Clock;
  private readonly onDue: (timer: ArmedTimer) => void;

  constructor(clock: Clock, onDue: (timer: ArmedTimer) => void) {
    this.clock = clock;
    this.onDue = onDue;
  }

  /** Arms `id`, in place of one of that name. */
  arm(id: string, event: { readonly type: string }, delayMs: number): void {
    this.cancel(id);
    const armed: ArmedTimer = {
      id,
      event,
      dueMs: this.clock.nowMs() + delayMs,
      timer: this.clock.after(Math.max(0, delayMs), () => this.onDue(armed)),
    };
    this.armed.set(id, armed);
  }

  cancel(id: string): void {
    this.armed.get(id)?.timer.cancel();
    this.armed.delete(id);
  }

  /** True once: a timer that was cancelled or armed anew after it fell due is not taken. */
  takeDue(timer: ArmedTimer): boolean {
    if (this.armed.get(timer.id) !== timer) return false;
    this.armed.delete(timer.id);
    return true;
  }

  cancelAll(): void {
    for (const id of [...this.armed.keys()]) this.cancel(id);
  }

  toJson(): TimerJson[] {
    const now = this.clock.nowMs();
    return [...this.armed.values()].map(({ id, event, dueMs }) => ({
      id,
      event,
      remainingMs: Math.max(0, dueMs - now),
    }));
  }
}
