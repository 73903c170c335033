// The master's right to answer, and the voters' promises it rests on. A voter that acknowledges a
// heartbeat follows no other term for P from its receipt; the master counts P/(1+drift) from the
// sending of the newest heartbeat that a majority acknowledged. So its mandate ends before the last
// promise of that majority does, whatever the clocks say.
import { isQuorum, type QuorumOptions } from './quorum.ts';
import { mandateMs, type Timing } from './timing.ts';

/** A master's or candidate's count of acknowledged heartbeats. */
export interface Mandate {
  readonly term: number;
  /** Send times of the heartbeats that may still be acknowledged, by sequence number. */
  readonly sent: ReadonlyMap<number, number>;
  /** Send time of the newest heartbeat each voter acknowledged. */
  readonly acked: ReadonlyMap<number, number>;
}

export const newMandate = (term: number): Mandate => ({
  term,
  sent: new Map(),
  acked: new Map(),
});

/** Older heartbeats than this many are forgotten: 64 * 100 ms is longer than any promise. */
const sentMax = 64;

export function beatSent(m: Mandate, seq: number, atMs: number): Mandate {
  const sent = new Map(m.sent).set(seq, atMs);
  for (const old of sent.keys()) {
    if (sent.size <= sentMax) break;
    sent.delete(old);
  }
  return { ...m, sent };
}

export function beatAcked(m: Mandate, voter: number, seq: number): Mandate {
  const atMs = m.sent.get(seq);
  if (atMs === undefined || atMs <= (m.acked.get(voter) ?? -1)) return m;
  return { ...m, acked: new Map(m.acked).set(voter, atMs) };
}

/** When the mandate ends, on the master's clock; the master's own vote is given with each heartbeat. */
export function mandateUntil(
  m: Mandate,
  voters: readonly number[],
  options: QuorumOptions,
  timing: Timing,
): number {
  // The newest time at which a quorum had acknowledged: drop the newest votes one by one.
  const times = voters
    .map((v) => ({ v, atMs: m.acked.get(v) ?? Number.NEGATIVE_INFINITY }))
    .filter((x) => x.atMs !== Number.NEGATIVE_INFINITY)
    .sort((a, b) => b.atMs - a.atMs);
  const have: number[] = [];
  if (isQuorum(have, voters, options)) return Number.POSITIVE_INFINITY;
  for (const { v, atMs } of times) {
    have.push(v);
    if (isQuorum(have, voters, options)) return atMs + mandateMs(timing);
  }
  return Number.NEGATIVE_INFINITY;
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
