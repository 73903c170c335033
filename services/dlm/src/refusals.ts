// What a master refused after it was queued: an asking that was on its way all the while ends the same way, and makes
// no lock that nobody has.
import type { LockOutcome } from '@ssi/contracts';

/** It is answered so for this long. */
const keptMs = 30_000;

interface Refusal {
  /** Of the lock manager that asked. */
  readonly life: number;
  readonly op: number;
  readonly outcome: LockOutcome;
  readonly atMs: number;
}

export class Refusals {
  /** New locks, by lkid, the oldest first. */
  readonly #all = new Map<number, Refusal>();

  add(lkid: number, refusal: Refusal): void {
    this.#all.set(lkid, refusal);
  }

  of({ lkid, life, op }: { lkid: number; life: number; op: number }): LockOutcome | undefined {
    const refusal = this.#all.get(lkid);
    return refusal?.life === life && refusal.op >= op ? refusal.outcome : undefined;
  }

  sweep(nowMs: number): void {
    for (const [lkid, { atMs }] of this.#all) {
      if (nowMs - atMs < keptMs) break;
      this.#all.delete(lkid);
    }
  }
}
