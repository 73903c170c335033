// Wires it together: which part serves which operation. The same code runs in a process of its own, hosted
// with others, and in the simulator.
import {
  fail,
  ipc,
  ipcKeyService,
  type MemberId,
  ok,
  parsePrincipal,
  type Reply,
  type ServiceEndpoint,
  type View,
} from '@ssi/contracts';
import {
  createKeyCalls,
  createKeyRole,
  linkMembership,
  linkRouter,
  type RouterLink,
} from '@ssi/ics';
import {
  type Clock,
  type Handlers,
  type Ics,
  type Log,
  refusals,
  repeat,
  type ServedCall,
  sleep,
} from '@ssi/ports';
import { Agent, type Caller } from './agent.ts';
import { LocalNode } from './local-node.ts';
import { Manager, ownerKey } from './manager.ts';
import { Nameserver } from './nameserver.ts';
import type { IdRecord, NameCache, Programs } from './ports.ts';
import { ProgramSessions } from './program-sessions.ts';
import { programCalls } from './programs.ts';
import { rebuildReply } from './reign.ts';
import { sessionMs } from './sessions.ts';

const sweepMs = 1_000;
const retryMs = 20;
/** In one answer, which the bus has to carry. */
const listMax = 2_000;

export interface IpcDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly log: Log;
  readonly cache: NameCache;
  readonly ids: IdRecord;
  /** Absent: programs do not ask by themselves. */
  readonly programs?: Programs;
  /** This service's own process id, for membership's list; 0 in a simulation. */
  readonly servicePid: number;
  /** Where this service is reached directly, for the node map; empty: by the bus only. */
  readonly tcp: readonly { readonly host: string; readonly port: number }[];
  /** Hands the node map over to ICS. Absent: the transport needs none. */
  readonly setMap?: (map: readonly ServiceEndpoint[], revoked?: readonly string[]) => void;
}

export interface IpcService {
  /** Resolves when the life of the node that it was started in is over; it has stopped, another is to be started. */
  readonly outlived: Promise<void>;
  /** Resolves when it is attached to its membership; it goes on trying as long as that does not answer. */
  start(): Promise<void>;
  stop(): void;
}

export function createIpc(deps: IpcDeps): IpcService {
  const { ics, clock } = deps;
  const node = new LocalNode(ics.self.node);
  const startedMs = clock.nowMs();
  let router: RouterLink | undefined;
  const names = createKeyCalls({ name: ipcKeyService, ics, view: () => node.view });

  /** Until the nameserver of the day knows. */
  async function untilTold(tell: () => Promise<Reply<unknown>>): Promise<void> {
    while (!node.stopped && !(await tell()).ok) await sleep(clock, retryMs);
  }

  const manager: Manager = new Manager({
    clock,
    // One that rebuilds meanwhile is told what is here.
    unbind: (q) =>
      untilTold(() => (active() ? nameserver.unbind(q) : names.call(ipc, 'unbind', q))),
    tell: (num, q) => {
      if (num === node.num) agent.sessions.tell(q.session, q.handle);
      else ics.send(ipc, 'tell', num, q);
    },
  });
  const nameserver = new Nameserver({ ...deps, node, manager });
  const role = createKeyRole({
    ...{ name: ipcKeyService, ics, clock },
    onEpoch: (epoch) => nameserver.onEpoch(epoch),
  });
  nameserver.attachRole(role);
  const active = (): boolean => role.epoch() !== undefined;
  const agent: Agent = new Agent({ ics, clock, node, names, manager, nameserver, active });

  const caller = (call: ServedCall): Caller => {
    // Who is no person is a service, or on a bus without credentials: root.
    const person = call.from.node === 0 ? parsePrincipal(call.from.service) : undefined;
    const cred = person ? { uid: person.uid, gid: person.gid } : { uid: 0, gid: 0 };
    return { cred, signal: call.signal, context: call.context };
  };

  const handlers: Handlers<typeof ipc> = {
    view: ({ view, self }) => {
      membership.told(view, self);
      return ok();
    },
    nodedown: ({ dead }) => {
      const nodes = new Set(dead.map((d) => d.num));
      manager.nodesEnded(nodes);
      nameserver.nodesEnded(nodes);
      return ok({});
    },
    standDown: (q) => role.standDown(q),
    status: () =>
      ok({
        service: ipc.name,
        state: node.view ? 'serving' : 'starting',
        uptimeMs: clock.nowMs() - startedMs,
        counters: {
          objects: manager.size,
          waiting: manager.waiting,
          sessions: agent.sessions.size,
          ended: manager.ended,
          nameserver: active() ? 1 : 0,
          names: nameserver.size,
          ...nameserver.counters,
          ...agent.counters,
          ...refusals(ics),
        },
      }),
    session: async (q, call) => {
      if (!node.isUp) return fail('EAGAIN', `node ${node.num} is not UP yet`);
      const opened = q.open ? agent.sessions.open(q.session, q.label) : undefined;
      if (opened && !opened.ok) return opened;
      const session = opened?.value ?? agent.sessions.get(q.session);
      if (!session) return fail('ESRCH', 'the session has ended');
      const told = q.open ? [] : await agent.sessions.wait(session, q.after, call.signal);
      if (agent.sessions.get(q.session) !== session) return fail('ESRCH', 'the session has ended');
      return ok({ sessionMs, told: [...told] });
    },
    close: ({ session }) => {
      agent.sessions.end(session);
      return ok({});
    },
    get: (q, call) => agent.get(q, caller(call)),
    call: (q, call) => agent.call(q, caller(call)),
    list: ({ type }) => {
      const objects = manager.list(type);
      return ok({ objects: objects.slice(0, listMax), truncated: objects.length > listMax });
    },
    lookup: (q, call) => nameserver.lookup(q, call.from.node),
    locate: ({ id }) => nameserver.locate(id),
    unbind: (q) => nameserver.unbind(q),
    announce: ({ bootId }, call) => nameserver.announce(call.from.node, bootId),
    exists: async ({ id, bootId }) =>
      ok({ here: bootId === ics.self.bootId && (await manager.here(id)) }),
    rebuild: (q) => rebuildReply(manager, ics.self.bootId, q),
    operate: (q, call) =>
      q.owner.node === call.from.node
        ? manager.operate(q, call.signal)
        : fail('EPERM', 'for clients of the own node only'),
    ended: ({ session }, call) => {
      manager.ownerEnded(ownerKey({ node: call.from.node, session }));
      return ok();
    },
    tell: ({ session, handle }) => {
      agent.sessions.tell(session, handle);
      return ok();
    },
  };

  let outlive = (): void => {};
  const outlived = new Promise<void>((done) => {
    outlive = done;
  });
  let served: ReturnType<Programs['serve']> | undefined;
  function servePrograms(): void {
    const { programs } = deps;
    if (!programs) return;
    const { sessions } = agent;
    const isHere = programs.has;
    const own = new ProgramSessions({ ics, clock, node, sessions, isHere });
    served = programs.serve(
      programCalls({
        agent,
        epochMax: () => node.view?.transid ?? 0,
        sessionOf: ({ pid }) => own.of(pid),
      }),
    );
  }

  function stop(): void {
    node.stopped = true;
    served?.stop();
    membership.stop();
    role.close();
    router?.stop();
    deps.cache.close();
  }

  function apply(view: View, self: MemberId): void {
    ics.setView(view, self);
    node.apply(view, self);
    role.told({ view, self });
    router?.self(self);
  }

  const membership = linkMembership({
    ...{ ics, clock, servicePid: deps.servicePid, apply },
    onNewLife: () => {
      stop();
      outlive();
    },
  });

  const every = (ms: number, work: () => Promise<void> | void): void =>
    void repeat({ clock, ms, until: () => node.stopped }, work);

  return {
    async start() {
      ics.serve(ipc, handlers, { inWorkMax: 1_024, queueMax: 100_000 });
      if (deps.setMap) router = linkRouter({ ...deps, setMap: deps.setMap });
      await membership.start();
      const q = { bootId: ics.self.bootId };
      void untilTold(() =>
        active() ? nameserver.announce(node.num, q.bootId) : names.call(ipc, 'announce', q),
      );
      servePrograms();
      every(sweepMs, () => agent.sessions.sweep());
    },
    stop,
    outlived,
  };
}
