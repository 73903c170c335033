// A master's whole apparatus, made when a term begins and taken down when it ends: committer,
// heartbeats and verdicts, nodedown steps; and the answers to join, ready and leave.
import {
  clms,
  type Errno,
  fail,
  type MemberId,
  ok,
  type Reply,
  talksIn,
  type View,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { type CleanupRun, createCleanupRun } from './cleanup-run.ts';
import { type Committer, createCommitter } from './committer.ts';
import type { Won } from './election.ts';
import { createKeyRun, type KeyRun } from './key-run.ts';
import { handover } from './key-services.ts';
import { createMaster, type Master } from './master.ts';
import type { MembershipDeps, NodeState } from './state.ts';
import * as transition from './view.ts';
import type { Views } from './views.ts';

type ToMaster = 'EAGAIN' | 'EREMCHG';
type HandoverErrno = ToMaster | 'ENOENT' | 'EINVAL' | 'EIO';

export interface Reign {
  readonly master: Master;
  readonly committer: Committer;
  join(
    q: transition.JoinRequest,
  ): Promise<Reply<{ transid: number }, ToMaster | 'EEXIST' | 'EINVAL'>>;
  ready(id: MemberId): Promise<Reply<{ transid: number }, ToMaster | 'ESTALE'>>;
  leave(id: MemberId): Promise<Reply<{ transid: number }, ToMaster | 'ESTALE'>>;
  handover(q: {
    service: string;
    to?: number | undefined;
  }): Promise<Reply<{ transid: number; num: number }, HandoverErrno>>;
  tick(nowMs: number): void;
  end(): void;
}

export function createReign(
  deps: MembershipDeps,
  state: NodeState,
  won: Won,
  views: Views,
  on: { lost: () => void; leaseUntil: (untilMs: number) => void; peersChanged: () => void },
): Reign {
  const { ics, clock, config, log } = deps;
  let over = false;
  let cleanup: CleanupRun | undefined;
  let keys: KeyRun | undefined;

  const committer = createCommitter({
    kv: deps.kv,
    clock,
    random: deps.random,
    log,
    cluster: config.cluster,
    clusterId: won.clusterId,
    view: won.view,
    revision: won.revision,
    mayWrite: () => !over && !state.stopped && master.mandated() && master.heard(),
    isOver: () => over || state.stopped,
    onCommitted: tell,
    onLost: on.lost,
  });
  const master = createMaster(
    deps,
    state,
    { mandate: won.mandate, seq: won.seq, committer, transid: won.view.transid },
    { leaseUntil: on.leaseUntil, released: on.lost, peersChanged: on.peersChanged },
  );
  cleanup = createCleanupRun(deps, state, master, committer);
  keys = createKeyRun(deps, committer);

  /** Applied here, and on its way to every member; heartbeats carry the transid to whoever misses it. */
  function tell(view: View): void {
    const before = state.view;
    if (!views.apply(view)) return;
    for (const t of transition.transitions(before, view))
      deps.publishEvent(t.to === 'UP' ? 'nodeup' : 'transition', { transid: view.transid, ...t });
    for (const m of view.members) {
      if (m.num === state.id.num || !talksIn(m.state)) continue;
      const self = { num: m.num, incarnation: m.incarnation };
      ics.send(clms, 'view', m.num, { view, self, leased: true }, { timeoutMs: 2_000 });
    }
    cleanup?.onView(view);
    keys?.onView(view);
  }

  const value = (view: View) => ok({ transid: view.transid });
  const elsewhere = (detail: string) => fail('EREMCHG', detail, state.view?.master ?? 0);

  /** A refusal of the store is the same to who asks: not now. */
  async function commit<E extends Errno>(
    change: (view: View) => Reply<View, E>,
  ): Promise<Reply<View, E | ToMaster>> {
    const done = await committer.commit(change);
    if (done.ok) return done;
    if (done.errno === 'ETIMEDOUT' || done.errno === 'EHOSTUNREACH')
      return fail('EAGAIN', done.detail);
    if (done.errno === 'EREMCHG') return elsewhere(done.detail);
    return fail(done.errno as E, done.detail);
  }

  tell(won.view);
  return {
    master,
    committer,
    async join(q) {
      if (over) return elsewhere('not the master any more');
      const first = state.view ? transition.join(state.view, q) : fail('EAGAIN', 'no view yet');
      if (!first.ok) return fail(first.errno === 'ESTALE' ? 'EINVAL' : first.errno, first.detail);
      if (q.num !== state.id.num) {
        // Its promise comes before its vote counts: the mandate must not lapse by the commit.
        master.expect({ id: { num: q.num, incarnation: q.incarnation }, facts: q.facts });
        const endMs = clock.nowMs() + 1_000;
        while (!master.joiner(q.num)?.acked && clock.nowMs() < endMs && !over)
          await sleep(clock, 5);
        if (!master.joiner(q.num)?.acked) {
          master.forgetJoiner(q.num);
          return fail('EAGAIN', `no heartbeat of node ${q.num} came`);
        }
      }
      const done = await commit((v) => transition.join(v, q));
      master.forgetJoiner(q.num);
      if (done.ok) return value(done.value);
      if (done.errno === 'ESTALE') return fail('EINVAL', done.detail);
      return done.errno === 'EREMCHG' ? elsewhere(done.detail) : fail(done.errno, done.detail);
    },
    async ready(id) {
      if (over) return elsewhere('not the master any more');
      const done = await commit((v) => transition.ready(v, id));
      return done.ok ? value(done.value) : fail(done.errno, done.detail, state.view?.master);
    },
    async leave(id) {
      if (over) return elsewhere('not the master any more');
      const going = await commit((v) => transition.shutdown(v, id));
      if (!going.ok) return fail(going.errno, going.detail, state.view?.master);
      // Out of the quorum at once: its programs ended before it asked.
      const gone = await commit<never>((v) => ok(transition.nodedown(v, [id])));
      return gone.ok ? value(gone.value) : fail(gone.errno, gone.detail, state.view?.master);
    },
    async handover({ service, to }) {
      if (over) return elsewhere('not the master any more');
      const asked = await commit((v) =>
        handover(v, to === undefined ? { name: service } : { name: service, to }),
      );
      if (!asked.ok) return fail(asked.errno, asked.detail, state.view?.master);
      const wanted = asked.value.keyServices[service]?.to;
      for (;;) {
        const now = state.view?.keyServices[service];
        if (now && now.to === undefined && state.view) {
          if (wanted !== undefined && now.num !== wanted)
            return fail('EIO', `${service} did not stand down; it is on node ${now.num}`);
          return ok({ transid: state.view.transid, num: now.num });
        }
        if (over) return elsewhere('not the master any more');
        if (!now) return fail('EIO', `nobody can run ${service} any more`);
        await sleep(clock, config.timing.tickMs / 2);
      }
    },
    tick: (nowMs) => master.tick(nowMs),
    end() {
      over = true;
      cleanup?.stop();
      keys?.stop();
    },
  };
}
