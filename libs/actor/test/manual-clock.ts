// A clock that moves when told to.
import type { Clock, Timer } from '@ssi/ports';

export interface ManualClock extends Clock {
  advance(ms: number): void;
}

export function manualClock(): ManualClock {
  let now = 0;
  let order = 0;
  let due: { atMs: number; order: number; fn: () => void }[] = [];
  return {
    nowMs: () => now,
    wallMs: () => now,
    after(delayMs, fn): Timer {
      const entry = { atMs: now + delayMs, order: order++, fn };
      due.push(entry);
      return { cancel: () => (due = due.filter((d) => d !== entry)) };
    },
    advance(ms) {
      const end = now + ms;
      for (;;) {
        const next = due
          .filter((d) => d.atMs <= end)
          .sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
        if (!next) break;
        due = due.filter((d) => d !== next);
        now = next.atMs;
        next.fn();
      }
      now = end;
    },
  };
}
