// A node's right to run: L from the send time of its own last ping that a master with a mandate
// answered. Only durations on this node's clock count. [design: the right to run]
import type { Timing } from './timing.ts';

export interface Lease {
  /** Send times of the pings not answered yet, by sequence number. */
  readonly sent: ReadonlyMap<number, number>;
  readonly untilMs: number;
}

export const noLease: Lease = { sent: new Map(), untilMs: Number.NEGATIVE_INFINITY };

/** Pings older than this many can't extend a lease any more (32 * 100 ms > L). */
const sentMax = 32;

export function pingSent(lease: Lease, seq: number, atMs: number): Lease {
  const sent = new Map(lease.sent).set(seq, atMs);
  for (const old of sent.keys()) {
    if (sent.size <= sentMax) break;
    sent.delete(old);
  }
  return { ...lease, sent };
}

/** A master with a mandate answered ping `seq`. Answers may come out of order: the end never goes back. */
export function pingAnswered(lease: Lease, seq: number, timing: Timing): Lease {
  const atMs = lease.sent.get(seq);
  if (atMs === undefined) return lease;
  return { ...lease, untilMs: Math.max(lease.untilMs, atMs + timing.leaseMs) };
}

export const isLeased = (lease: Lease, nowMs: number): boolean => nowMs < lease.untilMs;
