// Wiring of a membership: heartbeats and operations in, the parts that answer them, the machine that
// says what this life is. No rule lives here.

import { runMachine } from '@ssi/actor';
import { clms, fail, ok, type Reply, sameIncarnation, talksIn, type View } from '@ssi/contracts';
import { createElection, type Won } from './election.ts';
import { createLife } from './life.ts';
import { createLocalServices } from './local-services.ts';
import { type LifeEffect, nodeMachine } from './machine.ts';
import { createMember } from './member.ts';
import type { HeartbeatMessage } from './messages.ts';
import { clmsHandlers } from './operations.ts';
import { startProbe } from './probe.ts';
import { judge } from './recovery.ts';
import { createReign, type Reign } from './reign.ts';
import { isSpokenOf, type MembershipDeps, newState, selfIn } from './state.ts';
import { timingFault } from './timing.ts';
import { createViews } from './views.ts';

export interface Membership {
  /** For tests and the simulator: what this node believes now. */
  readonly state: Readonly<ReturnType<typeof newState>>;
  lifeState(): string;
  /** Leaves in good order: the programs end, the view says so. */
  leave(): Promise<void>;
  /** Stops here and now, as a killed process would, but for the sockets. */
  stop(): void;
  /** Resolves when this node left for good or can't be a member; the reason, if it is the latter. */
  readonly ended: Promise<string | undefined>;
}

export async function createMembership(deps: MembershipDeps): Promise<Membership> {
  const { clock, log, config, heartbeats, ics } = deps;
  const fault = timingFault(config.timing);
  if (fault) throw new Error(fault);

  const stored = await deps.disk.load();
  const incarnation = stored.life?.incarnation ?? {
    bootCount: stored.bootCount + 1,
    bootId: deps.random.hex(8),
  };
  if (!stored.life) {
    await deps.disk.saveBootCount(incarnation.bootCount);
    await deps.disk.saveLife({ incarnation });
  }
  const state = newState({ num: config.num, incarnation }, clock.nowMs());
  if (stored.remembered) {
    state.clusterId = stored.remembered.clusterId;
    state.view = stored.remembered.view;
    // What this voter promised before it started it may not know: it waits as long as that could last.
    const made = stored.life?.promise ?? {
      term: stored.remembered.view.term,
      to: 0,
      life: '',
    };
    state.promised = {
      ...made,
      floor: made.term,
      untilMs: clock.nowMs() + config.timing.promiseMs,
    };
  }

  let reign: Reign | undefined;
  let end: (reason: string | undefined) => void = () => {};
  const ended = new Promise<string | undefined>((done) => {
    end = done;
  });

  const views = createViews(deps, state, (view) => {
    setPeers(view);
    services.push();
    review();
    member.viewApplied();
  });
  const services = createLocalServices(deps, state);
  const member = createMember(deps, state, views, {
    newerTerm(term) {
      if (reign && term > reign.master.term) endReign();
      election.yield(term);
    },
    leaseChanged: () => services.push(),
    released: (next) => election.hurry(next),
    candidate(m) {
      // A master whose mandate lapsed gives its own vote back: it holds nothing any more.
      if (reign && m.term > reign.master.term && !reign.master.mandated())
        state.promised = { ...state.promised, untilMs: Number.NEGATIVE_INFINITY };
      election.onCandidate(m);
    },
  });
  const election = createElection(deps, state, {
    promiseTo: member.promiseTo,
    remember: member.remember,
    learned: (view) => void views.apply(view),
    won: beginReign,
    roleChanged: () => machine.send({ type: state.role === 'slave' ? 'role.slave' : 'role.stand' }),
  });
  const life = createLife(deps, state, views, services, {
    won: beginReign,
    async joinSelf(request) {
      await reign?.join(request);
    },
    killed: () => machine.send({ type: 'programs.killed' }),
    stopped: () => end(undefined),
    reviewed: review,
    refused: (detail) => end(detail),
  });
  const machine = runMachine<typeof nodeMachine, LifeEffect>({
    machine: nodeMachine,
    input: undefined,
    clock,
    log,
    perform: (effect) => life.perform(effect),
  });

  function beginReign(won: Won): void {
    reign?.end();
    state.clusterId = won.clusterId;
    state.role = 'master';
    log.info('master', { term: won.view.term, transid: won.view.transid });
    machine.send({ type: 'role.master' });
    const { bootId: life_ } = state.id.incarnation;
    void member.promiseTo({ term: won.view.term, to: state.id.num, life: life_, reigns: true });
    reign = createReign(deps, state, won, views, {
      lost: endReign,
      leaseUntil: member.leaseUntil,
      peersChanged: () => state.view && setPeers(state.view),
    });
    // The others' leases run out meanwhile: heard at once.
    reign.tick(clock.nowMs());
    deps.publishEvent('master', { num: state.id.num, term: won.view.term });
  }

  function endReign(): void {
    if (!reign) return;
    const { term } = reign.master;
    log.info('not master any more', { term });
    reign.end();
    reign = undefined;
    state.role = 'slave';
    state.heardMasterMs = clock.nowMs();
    // Its own vote for a mandate that it gives up.
    if (state.promised.to === state.id.num && state.promised.term === term)
      state.promised = { ...state.promised, untilMs: Number.NEGATIVE_INFINITY };
    machine.send({ type: 'role.slave' });
  }

  function setPeers(view: View): void {
    const peers = view.members
      .filter((m) => m.num !== state.id.num && talksIn(m.state))
      .map((m) => ({ num: m.num, addresses: m.facts.addresses, ports: m.facts.heartbeatPorts }));
    for (const [num, j] of reign?.master.joiners ?? [])
      peers.push({ num, addresses: j.facts.addresses, ports: j.facts.heartbeatPorts });
    heartbeats.setPeers(peers);
  }

  /** Tells the machine how the applied view speaks of this life. */
  function review(): void {
    const self = selfIn(state);
    const spoken = self?.state;
    if (spoken === 'COMINGUP' || spoken === 'UP' || spoken === 'SHUTDOWN')
      machine.send({ type: `view.${spoken}` });
    else if (state.view) machine.send({ type: isSpokenOf(state) ? 'view.out' : 'view.other' });
  }

  function onMessage(m: HeartbeatMessage): void {
    if (state.stopped) return;
    if (m.from.num === state.id.num) onNamesake(m);
    else if (m.type === 'beat') member.onBeat(m);
    else if (m.type === 'ack') reign?.master.onAck(m);
    else if (m.type === 'ping') reign?.master.onPing(m);
    else if (m.type === 'pong') member.onPong(m);
    else if (m.type === 'excluded') member.onExcluded(m);
    else if (m.type === 'vote') member.onVote(m);
    else if (m.type === 'granted') election.onGranted(m);
    else if (m.type === 'refused') {
      election.onRefused(m);
      reign?.master.onRefused(m);
    } else member.onRelease(m);
  }

  /** Another life of this number speaks: a master with a mandate says so, a joiner asks. */
  function onNamesake(m: HeartbeatMessage): void {
    if (sameIncarnation(m.from.incarnation, state.id.incarnation)) return;
    if (m.type === 'ping') reign?.master.onPing(m);
    else if (m.type === 'excluded' && sameIncarnation(m.to, state.id.incarnation))
      life.onNumberTaken();
  }

  function tick(): void {
    if (state.stopped) return;
    const nowMs = clock.nowMs();
    reign?.tick(nowMs);
    member.tick(nowMs);
    election.tick(nowMs);
    services.tick(nowMs);
    clock.after(config.timing.tickMs, tick);
  }

  const startedMs = clock.nowMs();
  heartbeats.onMessage(onMessage);
  ics.serve(
    clms,
    clmsHandlers(deps, state, {
      views,
      services,
      reign: () => reign,
      force: election.force,
      lifeState,
      trouble: life.trouble,
      startedMs,
      leave,
    }),
  );
  const probe = startProbe(deps, state, (found) => {
    life.onFound(found);
    if (!reign || !state.view || !state.clusterId) return;
    const mine = { clusterId: state.clusterId, view: state.view };
    const term = found.record?.view.term ?? 0;
    if (judge(found.record, mine) === 'forgot') void reign.committer.refill();
    else if (found.record?.clusterId === state.clusterId && term > reign.master.term) endReign();
  });
  if (state.view) {
    setPeers(state.view);
    if (selfIn(state)) {
      ics.setView(state.view, state.id);
      review();
    }
  }
  tick();

  function lifeState(): string {
    const value = machine.state().value as { life: string };
    return value.life;
  }

  async function leave(): Promise<Reply<{ transid: number }, 'EAGAIN'>> {
    state.leaving = true;
    if (!selfIn(state)) {
      end(undefined);
      return ok({ transid: state.view?.transid ?? 0 });
    }
    // Nothing of this node may run when the view says it is gone.
    await deps.guard.kill();
    for (let attempt = 0; attempt < 50; attempt++) {
      const to = state.view?.master ?? state.id.num;
      const reply = await ics.call(clms, 'leave', to, { member: state.id }, { timeoutMs: 2_000 });
      if (reply.ok) {
        const others = state.view?.members.some((m) => m.num !== state.id.num && talksIn(m.state));
        if (reign && others) reign.master.release(0);
        return ok({ transid: reply.value.transid });
      }
      if (reply.errno === 'ESTALE' || !selfIn(state)) break;
      await new Promise<void>((done) => clock.after(config.timing.beatMs, done));
    }
    return fail('EAGAIN', 'no master took the farewell; the others will notice');
  }

  return {
    state,
    lifeState,
    ended,
    async leave() {
      await leave();
    },
    stop() {
      state.stopped = true;
      reign?.end();
      probe.stop();
      machine.stop();
    },
  };
}
