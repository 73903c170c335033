// A member's part: acknowledges its master's heartbeats (each a promise), pings, and turns the
// answers into the guard's lease. Thaws only on a direct answer that names this life and the view it
// has applied.
import { type MemberId, sameIncarnation } from '@ssi/contracts';
import { isLeased, pingAnswered, pingSent } from './lease.ts';
import { type Follow, mayPromise, promise, released } from './mandate.ts';
import type { Heartbeat } from './messages.ts';
import { leasedNow, type MembershipDeps, type NodeState, selfIn } from './state.ts';
import type { Views } from './views.ts';

export interface Member {
  onBeat(m: Heartbeat<'beat'>): void;
  onPong(m: Heartbeat<'pong'>): void;
  onExcluded(m: Heartbeat<'excluded'>): void;
  onVote(m: Heartbeat<'vote'>): void;
  onRelease(m: Heartbeat<'release'>): void;
  tick(nowMs: number): void;
  /** A frozen node has what its master goes by: asks at once, not with the next heartbeat. */
  viewApplied(): void;
  /** This node's master answers itself: programs may run until then. */
  leaseUntil(untilMs: number): void;
  /** Promises by name, remembered first. False: bound to another. */
  promiseTo(q: Follow): Promise<boolean>;
  /** Writes down whom this voter follows. */
  remember(): Promise<void>;
}

export function createMember(
  deps: MembershipDeps,
  state: NodeState,
  views: Views,
  on: {
    /** A master or candidate of a newer term speaks: whoever stands or rules here steps down. */
    newerTerm: (term: number) => void;
    leaseChanged: (leased: boolean) => void;
    released: (next: number) => void;
    /** Another one stands: of two, the lower number goes on. */
    candidate: (m: Heartbeat<'vote'>) => void;
  },
): Member {
  const { clock, heartbeats, guard, log } = deps;
  const { timing } = deps.config;
  let ping = 0;
  let lastPingMs = Number.NEGATIVE_INFINITY;
  let wasLeased = false;
  let behindSinceMs: number | undefined;
  /** The mandate given back last, by life and term: its heartbeats that are still on the way bind nobody. */
  let letGo = '';
  const mandateOf = (m: { from: MemberId; term: number }): string =>
    `${m.from.incarnation.bootId} ${m.term}`;

  function nextPing(nowMs: number): number {
    lastPingMs = nowMs;
    state.lease = pingSent(state.lease, ++ping, nowMs);
    return ping;
  }

  function tellLease(nowMs: number): void {
    const leased = leasedNow(state, nowMs);
    if (leased === wasLeased) return;
    wasLeased = leased;
    log.info(leased ? 'leased' : 'lease lapsed', { transid: state.view?.transid });
    on.leaseChanged(leased);
  }

  function catchUp(master: number, transid: number, nowMs: number): void {
    if (transid <= (state.view?.transid ?? 0)) {
      behindSinceMs = undefined;
      return;
    }
    // The view itself is on its way: asked for only when it does not come.
    behindSinceMs ??= nowMs;
    if (nowMs - behindSinceMs >= timing.beatMs / 2) void views.fetch(master);
  }

  /** This node is a master with a mandate itself. */
  const leads = (): boolean => state.role === 'master' && isLeased(state.lease, clock.nowMs());

  async function remember(): Promise<void> {
    const { term, to, life } = state.promised;
    await deps.disk.saveLife({ incarnation: state.id.incarnation, promise: { term, to, life } });
  }

  async function promiseTo(q: Follow): Promise<boolean> {
    const nowMs = clock.nowMs();
    if (!mayPromise(state.promised, q, nowMs)) return false;
    const named = q.term !== state.promised.term || q.to !== state.promised.to;
    state.promised = promise(state.promised, q, nowMs, timing);
    if (named) {
      // Before the word is given: a membership that restarts must know whom it follows.
      await remember();
      if (state.promised.term !== q.term || state.promised.to !== q.to) return false;
    }
    return true;
  }

  return {
    promiseTo,
    remember,
    async onBeat(m) {
      if (m.clusterId !== state.clusterId || m.term < (state.view?.term ?? 0)) return;
      if (m.from.num === state.id.num || mandateOf(m) === letGo) return;
      const { term, untilMs } = state.promised;
      if (m.term < term) {
        // Promised to a candidate of a newer term that nobody heard of again: the master begins a newer
        // one still, which the store grants only if that candidate did not win.
        if (clock.nowMs() >= untilMs)
          heartbeats.send(m.from.num, { type: 'refused', from: state.id, term, follows: false });
        return;
      }
      if (m.term > state.promised.term || m.from.num !== state.promised.to)
        if (mayPromise(state.promised, followOf(m, true), clock.nowMs())) on.newerTerm(m.term);
      if (!(await promiseTo(followOf(m, true))) || state.stopped) return;
      const nowMs = clock.nowMs();
      state.heardMasterMs = nowMs;
      heartbeats.send(m.from.num, {
        type: 'ack',
        from: state.id,
        term: m.term,
        seq: m.seq,
        ping: nextPing(nowMs),
        transid: state.view?.transid ?? 0,
        broker: state.broker.ok,
      });
      catchUp(m.from.num, m.transid, nowMs);
    },
    onPong(m) {
      const nowMs = clock.nowMs();
      if (!sameIncarnation(m.to, state.id.incarnation)) return;
      if (m.term !== state.promised.term || m.from.num !== state.promised.to) return;
      if (!selfIn(state)) return;
      catchUp(m.from.num, m.transid, nowMs);
      // A frozen node thaws only where it has applied what the master goes by.
      if (!isLeased(state.lease, nowMs) && m.transid !== state.view?.transid) return;
      state.lease = pingAnswered(state.lease, m.ping, timing);
      if (isLeased(state.lease, nowMs)) guard.lease(state.lease.untilMs - nowMs);
      tellLease(nowMs);
    },
    onExcluded(m) {
      if (!sameIncarnation(m.to, state.id.incarnation)) return;
      if (m.term < (state.view?.term ?? 0)) return;
      void views.fetch(m.from.num);
    },
    async onVote(m) {
      const refuse = (): void =>
        heartbeats.send(m.from.num, {
          type: 'refused',
          from: state.id,
          term: state.promised.term,
          follows: clock.nowMs() - state.heardMasterMs < 3 * timing.beatMs || leads(),
        });
      if (state.clusterId !== undefined && m.clusterId !== state.clusterId) return;
      if (m.term <= (state.view?.term ?? 0) || state.stopped) return refuse();
      on.candidate(m);
      if (!(await promiseTo(followOf(m, false)))) return refuse();
      on.newerTerm(m.term);
      heartbeats.send(m.from.num, {
        type: 'granted',
        from: state.id,
        term: m.term,
        seq: m.seq,
        transid: state.view?.transid ?? 0,
      });
    },
    onRelease(m) {
      if (m.reigned) letGo = mandateOf(m);
      const before = state.promised;
      state.promised = released(before, followOf(m, m.reigned));
      if (state.promised === before) return;
      void remember();
      if (m.reigned) on.released(m.next);
    },
    tick(nowMs) {
      tellLease(nowMs);
      // Heartbeats make acknowledgements, and those are pings; without any, ask whoever may be master.
      if (state.role === 'master' || nowMs - lastPingMs < timing.beatMs * 1.5) return;
      const seq = nextPing(nowMs);
      for (const m of state.view?.members ?? [])
        if (m.num !== state.id.num && m.state !== 'DOWN')
          heartbeats.send(m.num, {
            type: 'ping',
            from: state.id,
            ping: seq,
            transid: state.view?.transid ?? 0,
          });
    },
    viewApplied() {
      const nowMs = clock.nowMs();
      const { to } = state.promised;
      if (state.role === 'master' || to === 0 || isLeased(state.lease, nowMs)) return;
      if (!selfIn(state)) return;
      heartbeats.send(to, {
        type: 'ping',
        from: state.id,
        ping: nextPing(nowMs),
        transid: state.view?.transid ?? 0,
      });
    },
    leaseUntil(untilMs) {
      const nowMs = clock.nowMs();
      state.lease = { ...state.lease, untilMs };
      if (untilMs > nowMs) guard.lease(untilMs - nowMs);
      tellLease(nowMs);
    },
  };
}

const followOf = (m: { from: MemberId; term: number }, reigns: boolean): Follow => ({
  reigns,
  term: m.term,
  to: m.from.num,
  life: m.from.incarnation.bootId,
});
