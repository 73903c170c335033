// The world's clock: virtual time that jumps from event to event. Events at equal times run in the
// order they were made; before time goes on, everything that an event set going (promises and what
// hangs on them) has run to its end. Nothing here waits in real time.
import type { Clock, Timer } from '@ssi/ports';
import { EventHeap } from './event-heap.ts';

/** Wall time at the beginning, ms since 1970: 2026-01-01. For people only. */
const wallStartMs = 1_767_225_600_000;
/** Turns of the event loop asked for at once: each is one macrotask, so that promises drain between. */
const batchTurns = 64;

export class SimClock implements Clock {
  readonly #heap = new EventHeap();
  /** Looks at the world after each event: where invariants are checked. Throwing ends the run. */
  afterEach: (() => void) | undefined;
  #now = 0;
  #events = 0;

  nowMs(): number {
    return this.#now;
  }
  wallMs(): number {
    return wallStartMs + this.#now;
  }
  /** Events that ran so far. */
  get events(): number {
    return this.#events;
  }

  after(delayMs: number, fn: () => void): Timer {
    const event = this.#heap.push(this.#now + Math.max(0, delayMs), fn);
    return {
      cancel: () => {
        event.fn = undefined;
      },
    };
  }

  /** Runs all events up to `untilMs`; rejects with what an event or `afterEach` throws. */
  run(untilMs: number): Promise<void> {
    return new Promise((done, failed) => {
      let over = false;
      const turn = (): void => {
        if (over) return;
        try {
          this.afterEach?.();
          const event = this.#heap.pop(untilMs);
          if (event?.fn) {
            this.#now = event.atMs;
            this.#events++;
            event.fn();
            return;
          }
          over = true;
          this.#now = Math.max(this.#now, untilMs);
          done();
        } catch (error) {
          over = true;
          failed(error);
        }
      };
      const batch = (): void => {
        if (over) return;
        for (let i = 0; i < batchTurns; i++) setImmediate(turn);
        setImmediate(batch);
      };
      setImmediate(batch);
    });
  }
}
