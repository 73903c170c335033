// Time of a client process: the monotonic clock that Node itself counts by. A client only ever measures
// how long it waits, so the time a machine was suspended does not matter to it as it does to a member.
import type { Clock } from '@ssi/ports';

export const clientClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (delayMs, fn) => {
    const timer = setTimeout(fn, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};
