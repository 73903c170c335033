// The master's right to answer, and the voters' promises it rests on. A voter that acknowledges a
// heartbeat follows no other term for P from its receipt; the master counts P/(1+drift) from the
// sending of the newest heartbeat that a majority acknowledged. So its mandate ends before the last
// promise of that majority does, whatever the clocks say.
import { isQuorum, type QuorumOptions } from './quorum.ts';
import { mandateMs, type Timing } from './timing.ts';

/** A master's or candidate's count of acknowledged heartbeats. Its owner's alone: the maps grow in place. */
export interface Mandate {
  readonly term: number;
  /** Send times of the heartbeats that may still be acknowledged, by sequence number. */
  readonly sent: Map<number, number>;
  /** Send time of the newest heartbeat each voter acknowledged. */
  readonly acked: Map<number, number>;
}

export const newMandate = (term: number): Mandate => ({
  term,
  sent: new Map(),
  acked: new Map(),
});

/** Older heartbeats than this many are forgotten: 64 * 100 ms is longer than any promise. */
const sentMax = 64;

export function beatSent(m: Mandate, seq: number, atMs: number): Mandate {
  m.sent.set(seq, atMs);
  for (const old of m.sent.keys()) {
    if (m.sent.size <= sentMax) break;
    m.sent.delete(old);
  }
  return m;
}

export function beatAcked(m: Mandate, voter: number, seq: number): Mandate {
  const atMs = m.sent.get(seq);
  if (atMs !== undefined && atMs > (m.acked.get(voter) ?? -1)) m.acked.set(voter, atMs);
  return m;
}

/** When the mandate ends, on the master's clock; the master's own vote is given with each heartbeat. */
export function mandateUntil(
  m: Mandate,
  voters: readonly number[],
  options: QuorumOptions,
  timing: Timing,
): number {
  if (isQuorum([], voters, options)) return Number.POSITIVE_INFINITY;
  // The newest time at which a quorum had acknowledged: the fewest votes, newest first, that are one.
  const acked = (v: number): number => m.acked.get(v) ?? Number.NEGATIVE_INFINITY;
  const newest = voters.filter((v) => m.acked.has(v)).sort((a, b) => acked(b) - acked(a));
  if (!isQuorum(newest, voters, options)) return Number.NEGATIVE_INFINITY;
  let [few, enough] = [0, newest.length];
  while (enough - few > 1) {
    const half = (few + enough) >> 1;
    if (isQuorum(newest.slice(0, half), voters, options)) enough = half;
    else few = half;
  }
  return acked(newest[enough - 1] ?? 0) + mandateMs(timing);
}

/** What a voter promised. */
export interface Promised {
  readonly term: number;
  /** Whom; 0: nobody by name (a voter that just started does not know what it promised before). */
  readonly to: number;
  /** Boot id of the life promised to: another machine with its number gains nothing by it. */
  readonly life: string;
  readonly untilMs: number;
  /** Newest term of which a master was heard: what is left when a candidate withdraws. */
  readonly floor: number;
}

export const noPromise: Promised = {
  term: 0,
  to: 0,
  life: '',
  untilMs: Number.NEGATIVE_INFINITY,
  floor: 0,
};

/** Whom a promise is for. */
export interface Follow {
  readonly term: number;
  readonly to: number;
  readonly life: string;
  /** True for a master's heartbeat, false for a candidate that asks. */
  readonly reigns: boolean;
}

/**
 * May this voter promise `q` now? An older term never; another node only when the promise ran out, and
 * a term goes to one candidate only, so that it is won once. The same life may begin a newer term at any
 * time: the mandate that the promise protects is its own.
 */
export function mayPromise(p: Promised, q: Follow, nowMs: number): boolean {
  if (q.term < p.term) return false;
  if (q.to === p.to && q.life === p.life) return true;
  if (q.term === p.term && p.to !== 0 && !q.reigns) return false;
  return nowMs >= p.untilMs;
}

export const promise = (p: Promised, q: Follow, nowMs: number, timing: Timing): Promised => ({
  term: q.term,
  to: q.to,
  life: q.life,
  untilMs: nowMs + timing.promiseMs,
  floor: q.reigns ? Math.max(p.floor, q.term) : p.floor,
});

/**
 * The one promised to gives it back. A master that let go keeps the term (nobody follows an older one);
 * a candidate that withdrew never was master: its term is forgotten, or the present master would be
 * refused for it. An expired promise keeps its term: that candidate may have won unheard.
 */
export function released(p: Promised, q: Follow): Promised {
  if (p.term !== q.term || p.to !== q.to || p.life !== q.life) return p;
  const untilMs = Number.NEGATIVE_INFINITY;
  return q.reigns ? { ...p, untilMs } : { ...p, term: p.floor, to: 0, life: '', untilMs };
}
