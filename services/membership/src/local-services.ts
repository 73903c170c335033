// The services of this node: who attached, the view pushed to them on every change and once a second,
// and their step of a nodedown.
import {
  type Contract,
  clms,
  defineContract,
  fail,
  ics as icsContract,
  type MemberId,
  ok,
  type Reply,
  serviceOps,
  vproc,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { isSpokenOf, leasedNow, type MembershipDeps, type NodeState } from './state.ts';

type ServiceContract = Contract<typeof serviceOps>;

/** A service without a contract of its own here is still told the view, by the operations all share. */
export const contractOf = (name: string): ServiceContract =>
  name === 'ics'
    ? (icsContract as unknown as ServiceContract)
    : name === 'vproc'
      ? (vproc as unknown as ServiceContract)
      : defineContract(name, 1, serviceOps);

export interface LocalServices {
  attach(q: { service: string; bootId: string; pid: number }): void;
  /** Tells the view to every attached service. */
  push(): void;
  tick(nowMs: number): void;
  /** All the services this node needs are attached and past their start. */
  ready(): Promise<boolean>;
  nodedown(
    service: string,
    transid: number,
    dead: readonly MemberId[],
  ): Promise<Reply<object, 'EIO'>>;
  list(): { name: string; state: string }[];
}

/** Views are repeated, and services asked how they are, this often: either notices that the other is gone. */
const repeatMs = 1_000;

export function createLocalServices(deps: MembershipDeps, state: NodeState): LocalServices {
  const { ics, clock, log, config } = deps;
  const attached = new Map<
    string,
    { bootId: string; pid: number; state: string; contract: ServiceContract }
  >();
  let pushedMs = Number.NEGATIVE_INFINITY;

  /** Past its start? What it says of itself is what people are told. */
  async function look(s: { state: string; contract: ServiceContract }): Promise<boolean> {
    const reply = await ics.call(s.contract, 'status', state.id.num, {}, { timeoutMs: repeatMs });
    if (reply.ok) s.state = reply.value.state;
    // A service that has no status to tell is ready when it attached.
    else s.state = reply.errno === 'ENOSYS' ? 'attached' : 'silent';
    return s.state !== 'starting' && s.state !== 'silent';
  }

  const self: LocalServices = {
    attach(q) {
      const known = attached.get(q.service);
      if (known?.bootId === q.bootId) return;
      log.info('service attached', { service: q.service, bootId: q.bootId, servicePid: q.pid });
      const contract = known?.contract ?? contractOf(q.service);
      attached.set(q.service, { bootId: q.bootId, pid: q.pid, state: 'attached', contract });
    },
    push() {
      pushedMs = clock.nowMs();
      const { view, id } = state;
      if (!view || !isSpokenOf(state)) return;
      const body = { view, self: id, leased: leasedNow(state, pushedMs) };
      for (const [, s] of attached)
        ics.send(s.contract, 'view', id.num, body, { timeoutMs: 2 * repeatMs });
    },
    tick(nowMs) {
      if (nowMs - pushedMs < repeatMs) return;
      self.push();
      for (const [, s] of attached) void look(s);
    },
    async ready() {
      for (const name of config.services) {
        const s = attached.get(name);
        if (!s || !(await look(s))) return false;
      }
      return true;
    },
    async nodedown(service, transid, dead) {
      const endMs = clock.nowMs() + config.timing.stepMs;
      for (;;) {
        const s = attached.get(service);
        if (!s && !config.services.includes(service)) return ok({});
        // Needed but not there: it is restarting, its attach comes.
        const left = endMs - clock.nowMs();
        if (left <= 0) return fail('EIO', `${service} of node ${state.id.num} did not answer`);
        if (s) {
          const reply = await ics.call(
            s.contract,
            'nodedown',
            state.id.num,
            { transid, dead: [...dead] },
            { timeoutMs: left },
          );
          if (reply.ok) return ok({});
          if (reply.errno === 'ENOSYS') return ok({});
          log.warn('nodedown step failed', { service, errno: reply.errno, detail: reply.detail });
        }
        await sleep(clock, 100);
      }
    },
    list: () => [
      { name: clms.name, state: state.role },
      ...[...attached].map(([name, s]) => ({ name, state: s.state })),
      ...config.services
        .filter((name) => !attached.has(name))
        .map((name) => ({ name, state: 'missing' })),
    ],
  };
  return self;
}
