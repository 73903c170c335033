// Performs the effects of the life-cycle machine: finds or founds the cluster, asks to join, asks to be
// UP, kills what an excluded life left, begins the next one.
import {
  clms,
  findMember,
  type Incarnation,
  sameIncarnation,
  talksIn,
  type View,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { type Found, readRecord } from './committer.ts';
import type { Won } from './election.ts';
import type { LocalServices } from './local-services.ts';
import type { LifeEffect } from './machine.ts';
import { newMandate } from './mandate.ts';
import { encodeRecord, recordKey, recordOf } from './record.ts';
import { judge } from './recovery.ts';
import { type MembershipDeps, type NodeState, selfIn } from './state.ts';
import { emptyView, type JoinRequest, takeover } from './view.ts';
import type { Views } from './views.ts';

export interface Life {
  perform(effect: LifeEffect): void;
  /** The KV was read: an exclusion in it is learnt, whatever else it says is not obeyed. */
  onFound(found: Found): void;
  /** A living master has this node's number. */
  onNumberTaken(): void;
  /** Why this node can't be a member, for people and for `status`. */
  trouble(): string | undefined;
}

/** A number that is in use: an old life of this machine is excluded within V; past this it is another's. */
const existsMaxMs = 5_000;

export function createLife(
  deps: MembershipDeps,
  state: NodeState,
  views: Views,
  services: LocalServices,
  on: {
    won: (won: Won) => void;
    /** The master itself is not a member yet (it founded, or took over as a stranger). */
    joinSelf: (request: JoinRequest) => Promise<void>;
    killed: () => void;
    stopped: () => void;
    /** Tells the machine what the present view says of this life. */
    reviewed: () => void;
    /** This node's number belongs to another: it can never join. */
    refused: (detail: string) => void;
  },
): Life {
  const { clock, kv, ics, log, config, heartbeats } = deps;
  let looking = 0;
  let trouble: string | undefined;
  let takenMs = Number.NEGATIVE_INFINITY;
  let birth: Promise<void> = Promise.resolve();

  async function findCluster(): Promise<void> {
    const mine = ++looking;
    let existsSinceMs: number | undefined;
    while (mine === looking && !state.stopped && !state.leaving) {
      await birth;
      const found = await readRecord(kv);
      if (mine !== looking || state.stopped) return;
      if (!found.ok) trouble = `the store does not answer: ${found.detail}`;
      else if (!(await consider(found.value))) {
        if (trouble?.startsWith('EEXIST')) {
          existsSinceMs ??= clock.nowMs();
          if (clock.nowMs() - existsSinceMs > existsMaxMs) on.refused(trouble);
        } else existsSinceMs = undefined;
      } else return;
      await sleep(clock, config.timing.beatMs);
    }
  }

  /** True: asked and in, or founded; false: look again. */
  async function consider(found: Found): Promise<boolean> {
    const { record } = found;
    const mine =
      state.view && state.clusterId ? { clusterId: state.clusterId, view: state.view } : undefined;
    const verdict = judge(record, mine);
    if (verdict === 'fresh') return found_(found);
    // Not obeyed: the election refills it from the newest view a majority knows.
    if (verdict === 'forgot') return elsewhere(state.view);
    if (verdict === 'foreign') views.forget();
    if (!record) return false;
    state.clusterId = record.clusterId;
    learnExclusion(record.view);
    await outlive(record.view);
    const known = findMember(record.view, state.id.num);
    // The number has no vote in the newest view: nothing rests on what a former life promised.
    if (state.promised.to === 0 && !(known && talksIn(known.state)))
      state.promised = { ...state.promised, untilMs: Number.NEGATIVE_INFINITY };
    heartbeats.setPeers(
      record.view.members
        .filter((m) => m.num !== state.id.num)
        .map((m) => ({ num: m.num, addresses: m.facts.addresses, ports: m.facts.heartbeatPorts })),
    );
    return elsewhere(record.view);
  }

  /** A committed view without this life takes rights away and gives none: it may come from anywhere. */
  function learnExclusion(view: View): void {
    const self = findMember(view, state.id.num);
    const living =
      self && sameIncarnation(self.incarnation, state.id.incarnation) && talksIn(self.state);
    if (!living) views.apply(view);
  }

  /** Asks the master of `view` to let this life in. */
  async function elsewhere(view: View | undefined): Promise<boolean> {
    if (!view) return false;
    const self = findMember(view, state.id.num);
    if (self && self.incarnation.bootId === state.id.incarnation.bootId && talksIn(self.state)) {
      // Already in (this membership restarted): the view is all that is missing.
      views.apply(view);
      on.reviewed();
      return selfIn(state) !== undefined;
    }
    const request = {
      num: state.id.num,
      name: config.name,
      incarnation: state.id.incarnation,
      facts: { ...config.facts, heartbeatPorts: heartbeats.ports },
    };
    if (state.role === 'master') {
      await on.joinSelf(request);
      return false;
    }
    if (view.master === state.id.num) return askNamesake(view);
    const reply = await ics.call(clms, 'join', view.master, request, { timeoutMs: 2_000 });
    if (reply.ok) {
      trouble = undefined;
      if ((state.view?.transid ?? 0) < reply.value.transid) await views.fetch(view.master);
      return false;
    }
    trouble = `${reply.errno}: ${reply.detail}`;
    log.debug('join not answered yet', { errno: reply.errno, detail: reply.detail });
    return false;
  }

  /**
   * The master has this number: a former life of this machine, until another is master, or a second
   * machine's. Only its own word tells which, and only the bus has both.
   */
  function askNamesake(view: View): false {
    heartbeats.send(state.id.num, {
      type: 'ping',
      from: state.id,
      ping: 0,
      transid: view.transid,
    });
    const taken = clock.nowMs() - takenMs < 10 * config.timing.beatMs;
    trouble = taken
      ? `EEXIST: node number ${state.id.num} is in use by the master`
      : `node ${state.id.num} is the master of the last view`;
    return false;
  }

  /** The first of all nodes: creates the key with itself as master. */
  async function found_(found: Found): Promise<boolean> {
    const clusterId = deps.random.hex(8);
    const view = takeover(emptyView(config.pidBits), { term: 1, master: state.id.num, dead: [] });
    const writeId = deps.random.hex(8);
    const bytes = encodeRecord(recordOf({ cluster: config.cluster, clusterId, writeId, view }));
    const set = await kv.compareAndSet(recordKey, bytes, found.revision);
    if (!set.ok) return false;
    state.clusterId = clusterId;
    log.info('cluster founded', { clusterId });
    on.won({ clusterId, view, revision: set.value, mandate: newMandate(1), seq: 0 });
    return false;
  }

  /** Boot counts grow although a disk was lost. */
  async function outlive(view: View): Promise<void> {
    const known = findMember(view, state.id.num)?.incarnation;
    if (!known || known.bootId === state.id.incarnation.bootId) return;
    if (known.bootCount < state.id.incarnation.bootCount) return;
    await beginLife({ bootCount: known.bootCount + 1, bootId: deps.random.hex(8) });
  }

  async function beginLife(incarnation: Incarnation): Promise<void> {
    await deps.disk.saveBootCount(incarnation.bootCount);
    const { term, to, life } = state.promised;
    await deps.disk.saveLife({ incarnation, promise: { term, to, life } });
    state.id = { num: state.id.num, incarnation };
    // From here on calls name the new life: those of the old one are refused everywhere.
    if (state.view) ics.setView(state.view, state.id);
    log.info('life begins', { bootCount: incarnation.bootCount, bootId: incarnation.bootId });
  }

  async function becomeReady(): Promise<void> {
    const { id } = state;
    while (id === state.id && !state.stopped && !state.leaving) {
      const member = state.view && findMember(state.view, id.num);
      if (!state.view || member?.state !== 'COMINGUP') return;
      if (await services.ready()) {
        const reply = await ics.call(
          clms,
          'ready',
          state.view.master,
          { member: id },
          { timeoutMs: 2_000 },
        );
        if (reply.ok && (state.view?.transid ?? 0) < reply.value.transid)
          await views.fetch(state.view.master);
        if (!reply.ok) log.debug('not UP yet', { errno: reply.errno, detail: reply.detail });
      }
      await sleep(clock, config.timing.beatMs / 2);
    }
  }

  async function killPrograms(): Promise<void> {
    const done = await deps.guard.kill();
    if (done.ok) on.killed();
    else log.error('programs of an excluded life not killed yet', { errno: done.errno });
  }

  return {
    trouble: () => trouble,
    onNumberTaken() {
      takenMs = clock.nowMs();
      // It is heard: nobody may stand against it, least of all by its own vote.
      state.heardMasterMs = takenMs;
    },
    onFound({ record }) {
      if (record && record.clusterId === state.clusterId && state.role !== 'master')
        learnExclusion(record.view);
    },
    perform(effect) {
      if (effect.type === 'findCluster') void findCluster();
      else if (effect.type === 'becomeReady') void becomeReady();
      else if (effect.type === 'killPrograms') void killPrograms();
      else if (effect.type === 'stopped') on.stopped();
      else {
        const bootCount = state.id.incarnation.bootCount + 1;
        birth = beginLife({ bootCount, bootId: deps.random.hex(8) }).then(on.reviewed);
      }
    },
  };
}
