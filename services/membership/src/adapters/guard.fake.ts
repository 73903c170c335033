// The guard in memory: programs are frozen or not by the lease alone, as the real one does it.
import { ok } from '@ssi/contracts';
import type { Clock, Timer } from '@ssi/ports';
import type { NodeGuard } from '../ports.ts';

export interface FakeGuard extends NodeGuard {
  readonly frozen: boolean;
  /** Until when programs may run, on this guard's clock. */
  readonly untilMs: number;
  readonly kills: number;
  /** Told with each change. */
  onChange: (frozen: boolean) => void;
}

/** `lateMs`: a guard that is broken, it freezes so much too late (to see that a checker notices). */
export function createFakeGuard(clock: Clock, lateMs = 0): FakeGuard {
  let frozen = true;
  let untilMs = Number.NEGATIVE_INFINITY;
  let kills = 0;
  let timer: Timer | undefined;
  const set = (next: boolean): void => {
    if (next === frozen) return;
    frozen = next;
    self.onChange(next);
  };
  const self: FakeGuard = {
    get frozen() {
      return frozen;
    },
    get untilMs() {
      return untilMs;
    },
    get kills() {
      return kills;
    },
    onChange: () => {},
    lease(ms) {
      timer?.cancel();
      untilMs = clock.nowMs() + ms;
      set(ms <= 0);
      if (ms > 0) timer = clock.after(ms + lateMs, () => set(true));
    },
    async kill() {
      kills++;
      return ok();
    },
    close: () => timer?.cancel(),
  };
  return self;
}
