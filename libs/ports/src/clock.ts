// Time as a port. `nowMs` is this machine's CLOCK_BOOTTIME: only durations on one machine's own clock
// are ever compared. Wall time is for people. Lint forbids Date.now and setTimeout elsewhere.
export interface Timer {
  /** Idempotent; after it the callback does not run. */
  cancel(): void;
}

export interface Clock {
  /** ms since boot, with fraction; never goes back, goes on while the machine is suspended. */
  nowMs(): number;
  /** ms since 1970, for logs and people only. */
  wallMs(): number;
  /** Runs `fn` once, not before `delayMs` from now. */
  after(delayMs: number, fn: () => void): Timer;
}

/** A promise on a clock. */
export const sleep = (clock: Clock, ms: number): Promise<void> =>
  new Promise((done) => {
    clock.after(ms, done);
  });

/** Works every `ms`, counted from the end of the work before, until `until` says so; the first time after `ms`. */
export async function repeat(
  q: { readonly clock: Clock; readonly ms: number; readonly until: () => boolean },
  work: () => Promise<void> | void,
): Promise<void> {
  for (;;) {
    await sleep(q.clock, q.ms);
    if (q.until()) return;
    await work();
  }
}
