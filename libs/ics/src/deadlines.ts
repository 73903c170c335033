// Many timers, few timer objects: items wait in buckets of 8 ms and one clock timer serves the nearest
// bucket. An item that is over before its time leaves its place empty: what it refers to must not live as long
// as the bucket, or the collector of garbage would copy every call of the last tenth of a second.
import type { Clock, Timer } from '@ssi/ports';

const bucketMs = 8;

export interface Due {
  /** When to be looked at next, ms on the clock; may move later after it was added. */
  dueMs: number;
  /** The bucket it waits in, and its place there; kept by Deadlines, infinite and 0 at first. */
  bucket: number;
  place: number;
  /** True: forget it. */
  done: boolean;
  /** Its time has come. Add it again for a next time. */
  fire(): void;
}

export class Deadlines {
  readonly #clock: Clock;
  readonly #buckets = new Map<number, (Due | undefined)[]>();
  #next = Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Looks at the item at `dueMs`, at most one bucket late. When that moved later, nothing needs to be done. */
  add(item: Due): void {
    const bucket = Math.ceil(item.dueMs / bucketMs);
    if (item.bucket <= bucket) return;
    item.bucket = bucket;
    const there = this.#buckets.get(bucket);
    if (there) item.place = there.push(item) - 1;
    else {
      item.place = 0;
      this.#buckets.set(bucket, [item]);
    }
    if (bucket < this.#next) this.#arm(bucket);
  }

  /** It is over. */
  drop(item: Due): void {
    item.done = true;
    const there = this.#buckets.get(item.bucket);
    if (there?.[item.place] === item) there[item.place] = undefined;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#next = Number.POSITIVE_INFINITY;
    this.#buckets.clear();
  }

  #arm(bucket: number): void {
    this.#timer?.cancel();
    this.#next = bucket;
    const delayMs = Math.max(0, bucket * bucketMs - this.#clock.nowMs());
    this.#timer = this.#clock.after(delayMs, () => this.#run());
  }

  #run(): void {
    this.#timer = undefined;
    this.#next = Number.POSITIVE_INFINITY;
    const now = this.#clock.nowMs();
    const reached = [...this.#buckets.keys()]
      .filter((b) => b * bucketMs <= now)
      .sort((a, b) => a - b);
    for (const b of reached) {
      const items = this.#buckets.get(b) ?? [];
      this.#buckets.delete(b);
      for (const item of items) {
        if (item?.bucket !== b) continue; // it is over, or was moved to an earlier one
        item.bucket = Number.POSITIVE_INFINITY;
        if (item.done) continue;
        if (item.dueMs > now) this.add(item);
        else item.fire();
      }
    }
    let nearest = Number.POSITIVE_INFINITY;
    for (const b of this.#buckets.keys()) if (b < nearest) nearest = b;
    if (nearest < this.#next) this.#arm(nearest);
  }
}
