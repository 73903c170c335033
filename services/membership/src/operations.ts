// What the contract's operations answer: each reads the shared state or hands on to the part that
// decides. [libs/contracts/src/clms.ts]
import { type clms, fail, findMember, ok, type Reply, sameIncarnation } from '@ssi/contracts';
import { type Handlers, refusals, sleep } from '@ssi/ports';
import type { LocalServices } from './local-services.ts';
import type { Reign } from './reign.ts';
import { isSpokenOf, leasedNow, type MembershipDeps, type NodeState } from './state.ts';
import type { Views } from './views.ts';

export interface Parts {
  readonly views: Views;
  readonly services: LocalServices;
  readonly reign: () => Reign | undefined;
  readonly force: () => void;
  readonly lifeState: () => string;
  readonly trouble: () => string | undefined;
  readonly startedMs: number;
  readonly leave: () => Promise<Reply<{ transid: number }, 'EAGAIN'>>;
}

export function clmsHandlers(
  deps: MembershipDeps,
  state: NodeState,
  parts: Parts,
): Handlers<typeof clms> {
  const { clock, config, log } = deps;
  const leased = (): boolean => leasedNow(state, clock.nowMs());
  const notMaster = () =>
    fail('EREMCHG', `node ${state.view?.master ?? 0} is master`, state.view?.master ?? 0);
  const noView = () => fail('EAGAIN', parts.trouble() ?? 'this node is in no view yet');

  return {
    attach(q) {
      parts.services.attach(q);
      if (!state.view || !isSpokenOf(state)) return noView();
      return ok({ view: state.view, self: state.id, leased: leased(), cluster: config.cluster });
    },
    async join(q) {
      const reign = parts.reign();
      return reign ? reign.join(q) : notMaster();
    },
    async ready(q) {
      const reign = parts.reign();
      return reign ? reign.ready(q.member) : notMaster();
    },
    async leave(q) {
      const reign = parts.reign();
      return reign ? reign.leave(q.member) : notMaster();
    },
    async step(q) {
      // The services see the view before they clean up by it.
      const endMs = clock.nowMs() + 2_000;
      while ((state.view?.transid ?? 0) < q.transid) {
        if (clock.nowMs() >= endMs || state.stopped)
          return fail('ESTALE', `view ${q.transid} has not come here`);
        await sleep(clock, config.timing.tickMs / 5);
      }
      if (q.step !== 'script') return parts.services.nodedown(q.step, q.transid, q.dead);
      const done = await deps.script?.run(q.dead, q.transid);
      // The user's script is not part of the cluster's state: its failure is told, not waited for.
      if (done && !done.ok) log.error('nodedown script failed', { detail: done.detail });
      return ok({});
    },
    confirm(q) {
      const { view } = state;
      if (!view) return noView();
      if (!leased()) return fail('ENETDOWN', `node ${state.id.num} has no lease`);
      if (q.peer) {
        const m = findMember(view, q.peer.num);
        const same = m && sameIncarnation(m.incarnation, q.peer.incarnation);
        if (!same || m.state !== 'UP')
          return fail('EHOSTDOWN', `node ${q.peer.num} is ${same ? m.state : 'in another life'}`);
      }
      return ok({ transid: view.transid, leaseMs: state.lease.untilMs - clock.nowMs() });
    },
    members(q) {
      const { view } = state;
      if (!view || !(q.stored || isSpokenOf(state))) return noView();
      return ok({ view, self: state.id, leased: leased(), services: parts.services.list() });
    },
    history: (q) => ok({ events: parts.views.history(q.since ?? 0) }),
    async handover(q) {
      const reign = parts.reign();
      return reign ? reign.handover(q) : notMaster();
    },
    shutdown: () => parts.leave(),
    bootstrap() {
      if (parts.reign()) return fail('EALREADY', 'this node is master');
      if (state.clusterId === undefined)
        return fail('EAGAIN', 'nothing to start from: no stored view');
      parts.force();
      return ok({ transid: state.view?.transid ?? 0 });
    },
    suspect(q) {
      // The master's own silence decides; another's word makes people look.
      log.warn('a monitor suspects a node', { num: q.num, silentMs: q.silentMs, health: q.health });
      return ok(undefined);
    },
    view(q) {
      // A master's word to a member: newer views only.
      if (q.self.num === state.id.num) parts.views.apply(q.view);
      return ok(undefined);
    },
    nodedown: () => ok({}),
    status: () =>
      ok({
        service: 'clms',
        state: parts.lifeState(),
        uptimeMs: clock.nowMs() - parts.startedMs,
        counters: {
          transid: state.view?.transid ?? 0,
          term: state.view?.term ?? 0,
          master: state.role === 'master' ? 1 : 0,
          leased: leased() ? 1 : 0,
          leaseMs: Math.max(0, state.lease.untilMs - clock.nowMs()),
          broker: state.broker.ok ? 1 : 0,
          ...refusals(deps.ics),
        },
      }),
  };
}
