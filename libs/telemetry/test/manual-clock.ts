// A clock that only moves when the test says so.
import type { Clock } from '@ssi/ports';

export interface ManualClock extends Clock {
  /** Runs what is due up to then, in order, and lets promises settle in between. */
  advance(ms: number): Promise<void>;
}

export function manualClock(): ManualClock {
  let now = 0;
  let timers: { at: number; fn: () => void }[] = [];
  const settle = (): Promise<void> => new Promise((done) => setImmediate(done));
  return {
    nowMs: () => now,
    wallMs: () => now,
    after: (delayMs, fn) => {
      const timer = { at: now + delayMs, fn };
      timers.push(timer);
      return {
        cancel: () => {
          timers = timers.filter((t) => t !== timer);
        },
      };
    },
    advance: async (ms) => {
      const until = now + ms;
      await settle();
      for (;;) {
        const next = timers.filter((t) => t.at <= until).sort((a, b) => a.at - b.at)[0];
        if (!next) break;
        timers = timers.filter((t) => t !== next);
        now = next.at;
        next.fn();
        await settle();
      }
      now = until;
    },
  };
}
