// Time that only moves when a test lets it: timers run in order of their due time, and between two
// timers everything that promises can do is done.
import type { Clock, Timer } from '@ssi/ports';

interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly fn: () => void;
  cancelled: boolean;
}

const promisesDone = (): Promise<void> => new Promise((done) => setImmediate(done));

export class VirtualClock implements Clock {
  private now = 1_000;
  private order = 0;
  private timers: Due[] = [];
  /** Called after each timer: what must hold at every instant is checked here. */
  onStep: () => void = () => {};

  nowMs(): number {
    return this.now;
  }
  wallMs(): number {
    return 1_700_000_000_000 + this.now;
  }
  after(delayMs: number, fn: () => void): Timer {
    const due: Due = {
      atMs: this.now + Math.max(0, delayMs),
      order: this.order++,
      fn,
      cancelled: false,
    };
    let i = this.timers.length;
    while (i > 0 && (this.timers[i - 1] as Due).atMs > due.atMs) i--;
    this.timers.splice(i, 0, due);
    return {
      cancel: () => {
        due.cancelled = true;
      },
    };
  }

  /** Lets time pass until the condition holds; throws after `maxMs` of virtual time. */
  async until(
    condition: () => boolean,
    maxMs: number,
    what: () => string = () => '',
  ): Promise<void> {
    const end = this.now + maxMs;
    await promisesDone();
    while (!condition()) {
      const next = this.timers.shift();
      if (!next || next.atMs > end)
        throw new Error(`not within ${maxMs} ms: ${condition.toString()} ${what()}`);
      this.now = Math.max(this.now, next.atMs);
      if (next.cancelled) continue;
      next.fn();
      await promisesDone();
      this.onStep();
    }
  }

  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    let over = false;
    this.after(ms, () => {
      over = true;
    });
    await this.until(() => over, ms + 1);
    this.now = Math.max(this.now, end);
  }

  /** Lets time pass until the promise is settled. */
  async result<T>(promise: Promise<T>, maxMs = 60_000): Promise<T> {
    let settled = false;
    const done = promise.finally(() => {
      settled = true;
    });
    done.catch(() => {});
    await this.until(() => settled, maxMs);
    return done;
  }
}
