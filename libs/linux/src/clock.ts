// The Clock port on CLOCK_BOOTTIME, which goes on while the machine is suspended. A timer never fires
// before its time: libuv counts on another clock and rounds, so what comes early is armed again.
import type { Clock } from '@ssi/ports';
import { boottimeMs } from './syscalls.ts';

/** The longest delay that setTimeout takes. */
const delayMaxMs = 2 ** 31 - 1;

export function systemClock(): Clock {
  return {
    nowMs: boottimeMs,
    wallMs: () => Date.now(),
    after: (delayMs, fn) => {
      const dueMs = boottimeMs() + delayMs;
      let handle: NodeJS.Timeout;
      const arm = (): void => {
        const leftMs = Math.max(0, dueMs - boottimeMs());
        handle = setTimeout(fire, Math.min(Math.ceil(leftMs), delayMaxMs));
      };
      const fire = (): void => {
        if (boottimeMs() < dueMs) arm();
        else fn();
      };
      arm();
      return { cancel: () => clearTimeout(handle) };
    },
  };
}
