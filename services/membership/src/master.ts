// The master's part: heartbeats, answers while it has a mandate, and the verdict over silent nodes.
// It answers nothing without a mandate, and nothing to a node it is about to commit DOWN.
import {
  findMember,
  type MemberId,
  type NodeFacts,
  ok,
  sameIncarnation,
  talksIn,
  type View,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { CommitErrno, Committer } from './committer.ts';
import { type Detector, heard, look, newDetector, suspects, watching } from './failure-detector.ts';
import { beatAcked, beatSent, type Mandate, mandateUntil, mayPromise, promise } from './mandate.ts';
import type { Heartbeat } from './messages.ts';
import { isQuorum, votersOf } from './quorum.ts';
import { type MembershipDeps, type NodeState, selfIn } from './state.ts';
import { mandateMs } from './timing.ts';
import { isMember, nodedown, unheardMax } from './view.ts';

export interface Joiner {
  readonly id: MemberId;
  readonly facts: NodeFacts;
  readonly acked: boolean;
}

export interface Master {
  /** Grows where a voter is bound to a newer one. */
  readonly term: number;
  mandated(): boolean;
  /** A majority has applied what this one committed, but for a few: it may commit more. */
  heard(): boolean;
  onAck(m: Heartbeat<'ack'>): void;
  onPing(m: Heartbeat<'ping'>): void;
  /** A voter can't follow this term any more. */
  onRefused(m: Heartbeat<'refused'>): void;
  tick(nowMs: number): void;
  /** Heartbeats go to this node from now on, though it is no member yet. */
  expect(joiner: Omit<Joiner, 'acked'>): void;
  joiner(num: number): Joiner | undefined;
  forgetJoiner(num: number): void;
  readonly joiners: ReadonlyMap<number, Joiner>;
  /** Declares these lives over, once a master may. */
  exclude(dead: readonly MemberId[], why: string): Promise<void>;
  /** Gives every promise back. */
  release(next: number): void;
}

export function createMaster(
  deps: MembershipDeps,
  state: NodeState,
  start: { mandate: Mandate; seq: number; committer: Committer; transid: number },
  on: { leaseUntil: (untilMs: number) => void; released: () => void; peersChanged: () => void },
): Master {
  const { clock, heartbeats, log, config } = deps;
  const { timing } = config;
  const takeoverMs = clock.nowMs();
  let mandate = start.mandate;
  let seq = start.seq;
  let lastBeatMs = Number.NEGATIVE_INFINITY;
  let detector: Detector = newDetector(takeoverMs);
  const answeredMs = new Map<number, number>();
  const brokerSeen = new Map<number, { ok: boolean; atMs: number }>();
  const excluding = new Set<number>();
  /** Newest view of each voter, as it said with its acknowledgements. */
  const applied = new Map<number, number>();
  const joiners = new Map<number, Joiner>();
  let over = false;
  let raising = false;

  const view = (): View => {
    if (!state.view) throw new Error('a master has a view');
    return state.view;
  };
  /** In one view it only grows: what was counted before is never too late. */
  let counted = { view: undefined as View | undefined, untilMs: Number.NEGATIVE_INFINITY };
  const until = (): number => {
    const now = view();
    counted = {
      view: now,
      untilMs: mandateUntil(mandate, votersOf(now), config.quorum, timing),
    };
    return counted.untilMs;
  };
  const mandated = (): boolean => {
    const nowMs = clock.nowMs();
    if (over) return false;
    return (counted.view === view() && nowMs < counted.untilMs) || nowMs < until();
  };

  /**
   * A majority acknowledged a moment ago. A master that is cut off keeps its mandate for a while, and
   * must not use it to exclude those who are many: a minority commits nothing.
   */
  const freshlyMandated = (nowMs: number): boolean =>
    !over && nowMs < until() - mandateMs(timing) + 3 * timing.beatMs;

  function answer(id: MemberId, ping: number): void {
    if (!mandated() || excluding.has(id.num)) return;
    const { transid } = view();
    const to = id.incarnation;
    if (isMember(view(), id)) {
      detector = heard(detector, id.num);
      answeredMs.set(id.num, clock.nowMs());
      heartbeats.send(id.num, {
        type: 'pong',
        from: state.id,
        to,
        term: mandate.term,
        ping,
        transid,
      });
    } else if (!joiners.has(id.num))
      heartbeats.send(id.num, {
        type: 'excluded',
        from: state.id,
        to,
        term: mandate.term,
        transid,
      });
  }

  function beat(nowMs: number): void {
    lastBeatMs = nowMs;
    mandate = beatSent(mandate, ++seq, nowMs);
    const targets = new Set(votersOf(view()));
    for (const num of joiners.keys()) targets.add(num);
    // The master's own vote goes with each heartbeat, if it has one.
    if (targets.delete(state.id.num)) {
      mandate = beatAcked(mandate, state.id.num, seq);
      const { num, incarnation } = state.id;
      const follow = { term: mandate.term, to: num, life: incarnation.bootId, reigns: true };
      if (mayPromise(state.promised, follow, nowMs))
        state.promised = promise(state.promised, follow, nowMs, timing);
    }
    const { transid } = view();
    const { clusterId } = state;
    if (clusterId === undefined) return;
    for (const num of targets)
      heartbeats.send(num, {
        type: 'beat',
        from: state.id,
        clusterId,
        term: mandate.term,
        seq,
        transid,
      });
  }

  /** Silent long enough, and not answered for V: their programs stand still. */
  function judge(nowMs: number): void {
    detector = look(
      watching(
        detector,
        votersOf(view()).filter((n) => n !== state.id.num),
      ),
      nowMs,
      timing,
    );
    if (!freshlyMandated(nowMs)) return;
    const dead = suspects(detector, timing)
      .filter((n) => !excluding.has(n))
      .filter(
        (n) => nowMs - Math.max(answeredMs.get(n) ?? takeoverMs, takeoverMs) >= timing.verdictMs,
      )
      .flatMap((n) => findMember(view(), n) ?? [])
      .map(({ num, incarnation }) => ({ num, incarnation }));
    // With the broker away nobody can be excluded: they are judged when it is back.
    if (dead.length > 0 && state.broker.ok) void exclude(dead, 'silent');
  }

  async function exclude(dead: readonly MemberId[], why: string): Promise<void> {
    for (const d of dead) excluding.add(d.num);
    // Whoever was answered a moment ago has a lease to run out first.
    const answered = Math.max(takeoverMs, ...dead.map((d) => answeredMs.get(d.num) ?? 0));
    const waitMs = answered + timing.verdictMs - clock.nowMs();
    if (waitMs > 0) await sleep(clock, waitMs);
    if (!freshlyMandated(clock.nowMs())) {
      for (const d of dead) excluding.delete(d.num);
      return;
    }
    const done = await start.committer.commit((v) => ({ ok: true, value: nodedown(v, dead) }));
    for (const d of dead) {
      excluding.delete(d.num);
      answeredMs.delete(d.num);
    }
    const nums = dead.map((d) => d.num);
    if (done.ok) log.warn('nodedown', { nums, why, transid: done.value.transid });
    else log.warn('nodedown not committed', { nums, errno: done.errno as CommitErrno });
  }

  async function raise(term: number): Promise<void> {
    raising = true;
    const done = await start.committer.commit((v) => ok({ ...v, transid: v.transid + 1, term }));
    raising = false;
    if (!done.ok || over) return;
    log.info('term raised', { term, transid: done.value.transid });
    mandate = { ...mandate, term };
    beat(clock.nowMs());
  }

  /** Alone without the broker: the others can choose a master that has it. */
  function considerRelease(nowMs: number): void {
    if (state.broker.ok || nowMs - state.broker.sinceMs < timing.releaseMs) return;
    const able = [...brokerSeen]
      .filter(([, b]) => b.ok && nowMs - b.atMs < timing.beatMs * 3)
      .map(([num]) => num);
    const voters = votersOf(view());
    if (able.length === 0 || !isQuorum([...able, state.id.num], voters, config.quorum)) return;
    log.warn('the broker is away from here alone: voters released', { term: mandate.term });
    self.release(Math.min(...able));
  }

  const self: Master = {
    get term() {
      return mandate.term;
    },
    mandated,
    heard() {
      // The next transid, less what may be unheard of.
      const least = view().transid + 2 - unheardMax;
      if (least <= start.transid) return true;
      const voters = votersOf(view());
      const have = voters.filter((n) => n === state.id.num || (applied.get(n) ?? 0) >= least);
      return isQuorum(have, voters, config.quorum);
    },
    joiners,
    onAck(m) {
      if (m.term !== mandate.term || over) return;
      const joiner = joiners.get(m.from.num);
      if (joiner && sameIncarnation(joiner.id.incarnation, m.from.incarnation) && !joiner.acked)
        joiners.set(m.from.num, { ...joiner, acked: true });
      const member = findMember(view(), m.from.num);
      // A vote is the node number's: its newer life keeps the promise as well.
      if ((member && talksIn(member.state)) || joiner)
        mandate = beatAcked(mandate, m.from.num, m.seq);
      applied.set(m.from.num, m.transid);
      brokerSeen.set(m.from.num, { ok: m.broker, atMs: clock.nowMs() });
      answer(m.from, m.ping);
    },
    onPing: (m) => answer(m.from, m.ping),
    onRefused(m) {
      const bound = m.term > mandate.term && (isMember(view(), m.from) || joiners.has(m.from.num));
      if (bound && mandated() && !raising) void raise(m.term + 1);
    },
    tick(nowMs) {
      if (over) return;
      if (nowMs - lastBeatMs >= timing.beatMs - timing.tickMs / 2) beat(nowMs);
      const end = until();
      if (selfIn(state) && nowMs < end) on.leaseUntil(Math.min(end, nowMs + timing.leaseMs));
      judge(nowMs);
      considerRelease(nowMs);
    },
    expect(joiner) {
      const known = joiners.get(joiner.id.num);
      if (known && sameIncarnation(known.id.incarnation, joiner.id.incarnation)) return;
      joiners.set(joiner.id.num, { ...joiner, acked: false });
      on.peersChanged();
      beat(clock.nowMs());
    },
    joiner: (num) => joiners.get(num),
    forgetJoiner(num) {
      joiners.delete(num);
      on.peersChanged();
    },
    exclude,
    release(next) {
      if (over) return;
      over = true;
      for (const num of new Set([...votersOf(view()), ...joiners.keys()]))
        if (num !== state.id.num)
          heartbeats.send(num, {
            type: 'release',
            from: state.id,
            term: mandate.term,
            reigned: true,
            next,
          });
      on.released();
    },
  };
  return self;
}
