// Standing for master: the promises of a majority of the newest view, and the compare-and-set. A node
// stands when its own promise ran out and it reaches the KV; members by rank, strangers (a cold start)
// after them. The newest view is the KV's, this node's disk's, or one a voter has.
import { clms, type View } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { type Found, readRecord } from './committer.ts';
import { deadLives, type Grant, isThisLife } from './grants.ts';
import { beatAcked, beatSent, type Follow, type Mandate, newMandate, released } from './mandate.ts';
import type { Heartbeat } from './messages.ts';
import { isColdQuorum, isQuorum, votersOf } from './quorum.ts';
import { encodeRecord, recordKey, recordOf } from './record.ts';
import { judge, newer } from './recovery.ts';
import { type MembershipDeps, type NodeState, selfIn } from './state.ts';
import { takeover } from './view.ts';

/**
 * Time for each voter between two rounds of questions, ms: where there are many, all of them asked every tick by
 * whoever stands would have no time to answer (49 voters, 3 ways, 50 rounds a second: 7,350 messages).
 */
const askMsPerVoter = 2;

export interface Won {
  readonly clusterId: string;
  readonly view: View;
  readonly revision: number;
  readonly mandate: Mandate;
  readonly seq: number;
}

export interface Election {
  /** Looks whether it is time to stand; stands, once at a time. */
  tick(nowMs: number): void;
  onGranted(m: Heartbeat<'granted'>): void;
  onRefused(m: Heartbeat<'refused'>): void;
  /** A master of this or a newer term speaks: withdraw. */
  yield(term: number): void;
  /** Another one stands as well: of two without a majority the lower number goes on. */
  onCandidate(m: Heartbeat<'vote'>): void;
  /** The master let its voters go: no waiting for promises, `first` by rank. */
  hurry(first: number): void;
  /** cluster bootstrap --force: the next time without a majority. */
  force(): void;
}

interface Campaign {
  term: number;
  readonly granted: Map<number, Grant>;
  mandate: Mandate;
  /** A majority promised: it is not given up for another candidate any more. */
  decided: boolean;
  ended: boolean;
}

export function createElection(
  deps: MembershipDeps,
  state: NodeState,
  own: {
    promiseTo: (q: Follow) => Promise<boolean>;
    /** The promise changed by name. */
    remember: () => Promise<void>;
    won: (won: Won) => void;
    /** A voter knew a newer view. */
    learned: (view: View) => void;
    roleChanged: () => void;
  },
): Election {
  const { clock, heartbeats, kv, log, config } = deps;
  const { timing } = config;
  let campaign: Campaign | undefined;
  let notBeforeMs = 0;
  let lookedMs = clock.nowMs();
  let forced = false;
  let hurriedMs = Number.NEGATIVE_INFINITY;
  /** Terms of former campaigns are not used again: a late word about one must not be about another. */
  let tried = 0;
  /** The master let go, and no other was heard since. */
  const isHurried = (): boolean => hurriedMs >= state.heardMasterMs;

  function isDue(nowMs: number): boolean {
    const since = Math.max(state.heardMasterMs, state.promised.untilMs - timing.promiseMs);
    // A master whose membership restarted: the promises are to this very life, nobody else may stand.
    const mine =
      state.promised.to === state.id.num && state.promised.life === state.id.incarnation.bootId;
    const fromMs = since + (isHurried() || mine ? 0 : timing.promiseMs);
    if (nowMs < Math.max(notBeforeMs, fromMs)) return false;
    const view = state.view;
    const voters = view ? votersOf(view).filter((n) => n !== view.master) : [];
    const rank = Math.max(0, voters.indexOf(state.id.num));
    const stranger = selfIn(state) ? 0 : timing.strangerMs;
    return nowMs >= fromMs + rank * timing.rankMs + stranger;
  }

  function mayStand(nowMs: number): boolean {
    if (campaign || state.role !== 'slave' || state.leaving || state.stopped) return false;
    // Nobody to follow and nothing to go on from: life.ts finds or founds the cluster.
    if (state.clusterId === undefined || !state.broker.ok) return false;
    return forced || isDue(nowMs);
  }

  async function stand(): Promise<void> {
    const found = await readRecord(kv);
    if (!found.ok) return later(200);
    const { record } = found.value;
    const mine =
      state.view && state.clusterId ? { clusterId: state.clusterId, view: state.view } : undefined;
    const verdict = judge(record, mine);
    if (verdict === 'foreign' || state.clusterId === undefined) return later(500);
    const base = verdict === 'forgot' ? mine?.view : newer(record?.view, mine?.view);
    if (!base) return later(500);
    const term = Math.max(base.term, record?.view.term ?? 0, state.promised.term, tried) + 1;
    tried = term;
    const me = campaign;
    if (!me) return;
    me.term = term;
    me.mandate = newMandate(term);
    if (
      !(await own.promiseTo({
        term,
        to: state.id.num,
        life: state.id.incarnation.bootId,
        reigns: false,
      }))
    )
      return later(timing.promiseMs / 4);
    me.granted.set(state.id.num, { id: state.id, transid: base.transid });
    // The way that the new view will go is opened meanwhile.
    for (const num of votersOf(base))
      if (num !== state.id.num)
        void deps.ics.call(clms, 'members', num, { stored: true }, { timeoutMs: 500 });
    log.info('standing for master', { term, transid: base.transid, voters: votersOf(base) });
    await canvass(me, base, found.value);
  }

  /** Asks until a majority promised; gives up after P, or when somebody else is ahead. */
  async function canvass(me: Campaign, base: View, found: Found): Promise<void> {
    const { clusterId } = state;
    if (clusterId === undefined) return;
    const voters = votersOf(base);
    const endMs = clock.nowMs() + timing.promiseMs;
    let seq = 0;
    for (let askedMs = Number.NEGATIVE_INFINITY; !me.ended; await sleep(clock, 5)) {
      const nowMs = clock.nowMs();
      const have = [...me.granted.keys()];
      const living = voters.some((v) => isThisLife(base, me.granted.get(v)?.id));
      if (forced || (living ? isQuorum : isColdQuorum)(have, voters, config.quorum)) break;
      if (nowMs >= endMs) return withdraw(me, voters);
      // Others heard the last heartbeat some ms later: asked again soon.
      if (nowMs - askedMs < Math.max(timing.tickMs, voters.length * askMsPerVoter)) continue;
      askedMs = nowMs;
      me.mandate = beatAcked(beatSent(me.mandate, ++seq, nowMs), state.id.num, seq);
      const vote = {
        type: 'vote',
        from: state.id,
        clusterId,
        term: me.term,
        seq,
        transid: base.transid,
      } as const;
      for (const num of voters) if (num !== state.id.num) heartbeats.send(num, vote);
    }
    if (me.ended) return withdraw(me, voters);
    me.decided = true;
    // The old master may be there after all: if it gives its vote it lives on in the new view.
    if (!isHurried() && !me.granted.has(base.master)) await sleep(clock, timing.freezeMaxMs);
    await take(me, base, found, seq);
  }

  async function take(me: Campaign, asked: View, found: Found, seq: number): Promise<void> {
    const { clusterId } = state;
    if (clusterId === undefined) return;
    const base = await newest(me, asked);
    if (base.transid > asked.transid && base.transid > (state.view?.transid ?? 0)) {
      // Other voters may count by it: stand again, going on from that one.
      own.learned(base);
      return withdraw(me, votersOf(asked));
    }
    const voters = votersOf(base);
    const dead = deadLives(base, me.granted, isHurried());
    if (
      !voters.some((v) => isThisLife(base, me.granted.get(v)?.id)) &&
      voters.length > 0 &&
      !forced
    ) {
      // A cold start: nobody of the old view lives here, the last leases of the others run out first.
      await sleep(clock, timing.verdictMs);
    }
    if (me.ended) return withdraw(me, voters);
    const view = takeover(base, { term: me.term, master: state.id.num, dead });
    const writeId = deps.random.hex(8);
    const bytes = encodeRecord(recordOf({ cluster: config.cluster, clusterId, writeId, view }));
    let set = await kv.compareAndSet(recordKey, bytes, found.revision);
    if (!set.ok && set.errno === 'ETIMEDOUT') {
      const now = await readRecord(kv);
      if (now.ok && now.value.record?.writeId === writeId)
        set = { ok: true, value: now.value.revision };
    }
    if (!set.ok) {
      log.info('takeover not written', { term: me.term, errno: set.errno });
      // In doubt it may be written yet: the votes are not given back then, they run out.
      return set.errno === 'ETIMEDOUT' ? later(timing.promiseMs) : withdraw(me, voters);
    }
    forced = false;
    campaign = undefined;
    state.heardMasterMs = clock.nowMs();
    own.won({ clusterId, view, revision: set.value, mandate: me.mandate, seq });
  }

  /** A voter may have applied a view that the KV forgot. */
  async function newest(me: Campaign, base: View): Promise<View> {
    let best: View = base;
    for (const [num, grant] of me.granted) {
      if (grant.transid <= best.transid) continue;
      const reply = await deps.ics.call(clms, 'members', num, { stored: true }, { timeoutMs: 500 });
      if (reply.ok) best = newer(best, reply.value.view) ?? best;
    }
    return best;
  }

  /** This candidate's promise to itself: nothing rests on it without a majority. */
  function giveBack(term: number): void {
    const { num, incarnation } = state.id;
    const mine = { term, to: num, life: incarnation.bootId, reigns: false };
    state.promised = released(state.promised, mine);
    void own.remember();
  }

  function later(ms: number): void {
    notBeforeMs = clock.nowMs() + ms * (1 + deps.random.float());
  }

  function withdraw(me: Campaign, voters: readonly number[]): void {
    for (const num of voters)
      if (num !== state.id.num)
        heartbeats.send(num, {
          type: 'release',
          from: state.id,
          term: me.term,
          reigned: false,
          next: 0,
        });
    giveBack(me.term);
    if (notBeforeMs <= clock.nowMs()) later(timing.rankMs * 4);
  }

  return {
    tick(nowMs) {
      // Who was asleep itself heard nobody for it: what came meanwhile is read first. [Lifeguard]
      if (nowMs - lookedMs > timing.beatMs)
        notBeforeMs = Math.max(notBeforeMs, nowMs + 2 * timing.beatMs);
      lookedMs = nowMs;
      if (!mayStand(nowMs)) return;
      campaign = {
        term: 0,
        granted: new Map(),
        mandate: newMandate(0),
        decided: false,
        ended: false,
      };
      state.role = 'candidate';
      own.roleChanged();
      void stand().finally(() => {
        campaign = undefined;
        if (state.role !== 'candidate') return;
        state.role = 'slave';
        own.roleChanged();
      });
    },
    onGranted(m) {
      if (!campaign || m.term !== campaign.term) return;
      campaign.granted.set(m.from.num, { id: m.from, transid: m.transid });
      campaign.mandate = beatAcked(campaign.mandate, m.from.num, m.seq);
    },
    onRefused(m) {
      // A master is heard, or this term is somebody else's.
      if (!campaign || campaign.decided || !(m.follows || m.term >= campaign.term)) return;
      campaign.ended = true;
      if (m.follows) later(timing.promiseMs);
    },
    onCandidate(m) {
      if (!campaign || campaign.decided || m.term < campaign.term) return;
      if (m.from.num > state.id.num) return;
      campaign.ended = true;
      giveBack(campaign.term);
    },
    yield(term) {
      if (campaign && term >= campaign.term) campaign.ended = true;
    },
    hurry(first) {
      state.heardMasterMs = clock.nowMs();
      hurriedMs = state.heardMasterMs;
      const second = first !== 0 && first !== state.id.num;
      notBeforeMs = second ? clock.nowMs() + timing.rankMs * 4 : 0;
    },
    force() {
      forced = true;
    },
  };
}
