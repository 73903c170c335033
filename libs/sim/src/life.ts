// One life of a process in the simulation. What it waits for reaches it only while it lives: after its
// end its timers, its inbox and the answers to its calls are gone, and nothing it still tries has any
// effect. While it is paused (SIGSTOP) all of that waits; while it is slow each of it takes its time.
import type { Clock, Timer } from '@ssi/ports';
import type { SimClock } from './sim-clock.ts';

/** A machine's own clock: when it was switched on, and how fast it runs. */
export interface ClockShape {
  /** ms on this machine's clock when the world's was 0. */
  readonly offsetMs: number;
  /** Seconds of this machine in a second of the world: 1 is exact. */
  readonly rate: number;
  /** What somebody has set its wall clock forward by, ms: of no account for anything but what people read. */
  wallStepMs?: number;
}

export interface LifeOptions {
  readonly name: string;
  readonly world: SimClock;
  readonly shape?: ClockShape;
  /** How long a call to the machine takes until its answer is there, ms. */
  readonly portDelayMs?: () => number;
  /** Called before each call to a port; may end this life: `before` the call or right `after` it. */
  readonly onPortCall?: (port: string, method: string) => 'before' | 'after' | undefined;
}

export class Life {
  readonly name: string;
  readonly clock: Clock;
  readonly #o: LifeOptions;
  #alive = true;
  #paused = false;
  #slowMs = 0;
  /** The next of what waits has its place in time. */
  #draining = false;
  #resumedMs = Number.NEGATIVE_INFINITY;
  #waiting: (() => void)[] = [];
  #onEnd: (() => void)[] = [];

  constructor(options: LifeOptions) {
    this.name = options.name;
    this.#o = options;
    const { world } = options;
    const shape = options.shape ?? { offsetMs: 0, rate: 1 };
    const { offsetMs, rate } = shape;
    this.clock = {
      nowMs: () => offsetMs + world.nowMs() * rate,
      wallMs: () => world.wallMs() + offsetMs + (shape.wallStepMs ?? 0),
      after: (delayMs, fn) => this.#after(delayMs / rate, fn),
    };
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** When it last had nothing left that waited, on the world's clock; infinite while something may wait. */
  get resumedMs(): number {
    const late = this.#paused || this.#slowMs > 0 || this.#draining;
    return late ? Number.POSITIVE_INFINITY : this.#resumedMs;
  }

  /** Called once when this life ends. */
  onEnd(fn: () => void): void {
    this.#onEnd.push(fn);
  }

  /** kill -9. Idempotent. */
  end(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#waiting = [];
    for (const fn of this.#onEnd.splice(0)) fn();
  }

  /** SIGSTOP. */
  pause(): void {
    this.#paused = true;
  }

  /** SIGCONT: what came meanwhile comes now, in order. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#resumedMs = this.#o.world.nowMs();
    this.#drain();
  }

  /** A starved processor: whatever it does takes so much longer, and the rest waits for it. 0: no more. */
  slow(ms: number): void {
    this.#slowMs = ms;
    this.#resumedMs = this.#o.world.nowMs();
  }

  /** Now if it runs, later if it is paused or slow, never if it is over. */
  run(fn: () => void): void {
    if (!this.#alive) return;
    if (!this.#paused && this.#slowMs === 0 && this.#waiting.length === 0) {
      fn();
      return;
    }
    this.#waiting.push(fn);
    this.#drain();
  }

  /** Each in an event of its own: a process takes one thing after the other, in order. */
  #drain(): void {
    if (this.#draining || this.#paused || this.#waiting.length === 0) return;
    this.#draining = true;
    this.#o.world.after(this.#slowMs, () => {
      this.#draining = false;
      if (this.#paused || !this.#alive) return;
      if (this.#waiting.length === 1) this.#resumedMs = this.#o.world.nowMs();
      this.#waiting.shift()?.();
      this.#drain();
    });
  }

  /**
   * A port as this life has it: calls of a dead one have no effect and no answer, callbacks to a dead
   * one are dropped.
   */
  mortal<T extends object>(port: T, name = 'port'): T {
    const methods = new Map<PropertyKey, unknown>();
    return new Proxy(port, {
      get: (target, key) => {
        const known = methods.get(key);
        if (known) return known;
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        const method = (...args: unknown[]): unknown =>
          this.#call(target, value as (...a: unknown[]) => unknown, args, name, String(key));
        methods.set(key, method);
        return method;
      },
    });
  }

  /**
   * One call to the world, at which this life may end: before it, and nothing happens, or right after,
   * and nobody hears the answer. For ports that go by a life already.
   */
  attempt<T>(port: string, method: string, call: () => T): T {
    if (!this.#alive) return never as T;
    const dies = this.#o.onPortCall?.(port, method);
    if (dies === 'before') this.end();
    if (!this.#alive) return never as T;
    const result = call();
    if (dies === 'after') this.end();
    return this.#alive ? result : (never as T);
  }

  #call(
    target: object,
    method: (...a: unknown[]) => unknown,
    args: unknown[],
    port: string,
    name: string,
  ): unknown {
    return this.attempt(port, name, () => {
      const gated = args.map((arg) =>
        typeof arg === 'function'
          ? (...a: unknown[]) => this.run(() => (arg as (...b: unknown[]) => void)(...a))
          : arg,
      );
      return this.#gate(method.apply(target, gated));
    });
  }

  #gate(result: unknown): unknown {
    if (result instanceof Promise) return this.#answer(result);
    if (typeof result !== 'object' || result === null) return result;
    const copy = result as Record<string, unknown>;
    let gated: Record<string, unknown> | undefined;
    for (const [key, value] of Object.entries(copy)) {
      if (value instanceof Promise) gated = { ...(gated ?? copy), [key]: this.#answer(value) };
      else if (isAsyncIterable(value)) gated = { ...(gated ?? copy), [key]: this.#items(value) };
    }
    return gated ?? result;
  }

  #answer(promise: Promise<unknown>): Promise<unknown> {
    return new Promise((done, failed) => {
      const later = (fn: () => void): void => {
        const delayMs = this.#o.portDelayMs?.() ?? 0;
        if (delayMs > 0) this.#o.world.after(delayMs, () => this.run(fn));
        else this.run(fn);
      };
      promise.then(
        (value) => later(() => done(value)),
        (error) => later(() => failed(error)),
      );
    });
  }

  async *#items(items: AsyncIterable<unknown>): AsyncGenerator<unknown> {
    const iterator = items[Symbol.asyncIterator]();
    for (;;) {
      const next = (await this.#answer(iterator.next())) as IteratorResult<unknown>;
      if (next.done) return;
      yield next.value;
    }
  }

  #after(delayMs: number, fn: () => void): Timer {
    if (!this.#alive) return { cancel: () => {} };
    let over = false;
    const timer = this.#o.world.after(delayMs, () =>
      this.run(() => {
        if (!over) fn();
      }),
    );
    return {
      cancel: () => {
        over = true;
        timer.cancel();
      },
    };
  }
}

/**
 * The answer to a call that nobody makes any more: whoever awaits it waits for good, whoever looks into
 * it finds more of the same, until the turn in which it died is over.
 */
const never: unknown = new Proxy(() => {}, {
  get: (_, key) => {
    if (key === 'then') return () => never;
    if (key === Symbol.iterator) return () => [][Symbol.iterator]();
    if (key === Symbol.toPrimitive) return () => 0;
    return never;
  },
  apply: () => never,
});

const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
