// A clock for a whole cluster in one process: time moves only when told, promises settle in between.
import type { Clock } from '@ssi/ports';

interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly fn: () => void;
}

export interface VirtualClock extends Clock {
  advance(ms: number): Promise<void>;
  /** A node's view of it: timers of a node that is paused wait, those of a stopped one never run. */
  forNode(gate: { paused: boolean; dead: boolean }): Clock;
}

export function virtualClock(): VirtualClock {
  let now = 1_000;
  let order = 0;
  let due: Due[] = [];
  const settle = (): Promise<void> => new Promise((done) => setImmediate(done));

  const after = (delayMs: number, fn: () => void) => {
    const entry: Due = { atMs: now + Math.max(0, delayMs), order: order++, fn };
    due.push(entry);
    return {
      cancel: () => {
        due = due.filter((d) => d !== entry);
      },
    };
  };
  const clock: VirtualClock = {
    nowMs: () => now,
    wallMs: () => now,
    after,
    forNode(gate) {
      return {
        nowMs: () => now,
        wallMs: () => now,
        after(delayMs, fn) {
          const run = (): void => {
            if (gate.dead) return;
            if (gate.paused) timer = after(10, run);
            else fn();
          };
          let timer = after(delayMs, run);
          return { cancel: () => timer.cancel() };
        },
      };
    },
    async advance(ms) {
      const end = now + ms;
      await settle();
      for (;;) {
        let next: Due | undefined;
        for (const d of due)
          if (!next || d.atMs < next.atMs || (d.atMs === next.atMs && d.order < next.order))
            next = d;
        if (!next || next.atMs > end) break;
        const entry = next;
        due = due.filter((d) => d !== entry);
        now = Math.max(now, entry.atMs);
        entry.fn();
        await settle();
      }
      now = end;
    },
  };
  return clock;
}
