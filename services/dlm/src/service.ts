// Wires the lock manager together: which part serves which operation. The same code runs in a process of
// its own, hosted with others, and in the simulator.
import {
  clms,
  dlm,
  fail,
  type MemberId,
  ok,
  type Reply,
  type ServiceEndpoint,
  sameIncarnation,
  type View,
} from '@ssi/contracts';
import { linkRouter, type RouterLink } from '@ssi/ics';
import { type Clock, type Handlers, type Ics, type Log, refusals, sleep } from '@ssi/ports';
import { Agent } from './agent.ts';
import { DeadlockSearch } from './deadlock-search.ts';
import { Directory } from './directory.ts';
import { Homes } from './homes.ts';
import { LocalNode } from './local-node.ts';
import { Masters, type ReleaseRequest } from './masters.ts';
import type { TokenRecord } from './ports.ts';
import { Recovery } from './recovery.ts';
import { sessionMs } from './sessions.ts';
import { type Block, TokenSource } from './tokens.ts';

const attachRetryMs = 100;
/** Without a word of membership for this long it may have been restarted. */
const silenceMs = 2_000;
const sweepMs = 1_000;
/** VMS waits for 10 s, since a search was dear there; here it is two questions to each node. */
export const deadlockDefaultMs = 100;
const retryMs = 20;
const listMax = 10_000;

export interface DlmDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly log: Log;
  readonly tokens: TokenRecord;
  /** This service's own process id, for membership's list; 0 in a simulation. */
  readonly servicePid: number;
  /** What waits for so long, ms, is looked at for deadlocks over several resources; 0: nothing is. */
  readonly deadlockMs?: number;
  /** Where this service is reached directly, for the node map; empty: by the bus only. */
  readonly tcp: readonly { readonly host: string; readonly port: number }[];
  /** Hands the node map over to ICS. Absent: the transport needs none. */
  readonly setMap?: (map: readonly ServiceEndpoint[], revoked?: readonly string[]) => void;
}

export interface Dlm {
  /**
   * Resolves when the life of the node that it was started in is over: the others have mended the loss of
   * all that this one knows, so it is of no use any more. It has stopped; another is to be started.
   */
  readonly outlived: Promise<void>;
  /** Resolves when it is attached to its membership; it goes on trying as long as that does not answer. */
  start(): Promise<void>;
  stop(): void;
}

export function createDlm(deps: DlmDeps): Dlm {
  const { ics, clock, deadlockMs = deadlockDefaultMs } = deps;
  const node = new LocalNode(deps);
  const startedMs = clock.nowMs();
  const tokens = new TokenSource(deps.tokens);
  let heardMs = Number.NEGATIVE_INFINITY;
  let router: RouterLink | undefined;

  const directory = new Directory({
    ...{ node, tokens },
    barrier: () => recovery.barrier,
    ownKeys: () => masters.keys().filter((key) => node.directoryOf(key) === node.num),
    heard: (num, bootId) => recovery.heard(num, bootId),
  });
  const homes: Homes = new Homes({
    node,
    lookup: (to, q) =>
      to === node.num ? directory.lookup(q, node.num) : ics.call(dlm, 'lookup', to, q),
    mastered: (key, block, barrier, valueLost) =>
      masters.create(key, block, {
        valueLost,
        ...(barrier && { barrier: recovery.passed(barrier) }),
      }),
    isMaster: (key) => masters.has(key),
    forgetting: (key) => masters.forgetting(key),
    rebuild: async (to, q) =>
      (to === node.num ? masters.rebuild(q, node.num) : await ics.call(dlm, 'rebuild', to, q)).ok,
    held: (key) => agent.held(key),
  });
  const masters: Masters = new Masters({
    ...{ clock, num: node.num, refill, forget },
    tell: (to, q) => {
      if (to === node.num) agent.told(q, node.num);
      else ics.send(dlm, 'told', to, q);
    },
  });
  const release = (to: number, q: ReleaseRequest) =>
    to === node.num ? masters.release(q) : ics.call(dlm, 'release', to, q);
  const agent: Agent = new Agent({
    ...{ node, homes, release, deadlockMs: deadlockMs || Number.MAX_SAFE_INTEGER },
    ask: (to, q) => (to === node.num ? masters.ask(q, node.num) : ics.call(dlm, 'ask', to, q)),
  });
  const deadlocks = new DeadlockSearch({ node, masters, release });
  const recovery: Recovery = new Recovery(node, { masters, directory, agent, homes });

  /** Until the directory of the day has answered. */
  async function untilDirectory<T>(
    key: string,
    ask: (to: number) => Promise<Reply<T>>,
  ): Promise<T> {
    for (;;) {
      const to = node.directoryOf(key);
      const reply = to === undefined ? undefined : await ask(to);
      if (reply?.ok && node.directoryOf(key) === to) return reply.value;
      if (node.stopped) return new Promise(() => {});
      await sleep(clock, retryMs);
    }
  }

  async function refill(key: string): Promise<Block> {
    const q = { key, tokensOnly: true };
    const reply = await untilDirectory(key, (to) => {
      const request = { ...q, transid: node.transid };
      return to === node.num
        ? directory.lookup(request, node.num)
        : ics.call(dlm, 'lookup', to, request);
    });
    return reply.tokens ?? { transid: 0, first: 1, last: 0 };
  }

  async function forget(key: string): Promise<void> {
    await untilDirectory<unknown>(key, async (to) => {
      if (to !== node.num) return ics.call(dlm, 'forget', to, { key });
      directory.forget(key, node.num);
      return ok({});
    });
  }

  const notMaster = (key: string) => {
    // It may be that the directory named this node and the answer was lost: then it is master by this.
    if (!masters.has(key) && !masters.forgetting(key)) void homes.lookup(key);
  };

  /** Clients are served by a node that is UP, once all others know of this life of the lock manager. */
  async function ready(): Promise<boolean> {
    await directory.settled;
    return node.isUp;
  }

  const notUp = () => fail('EAGAIN', `node ${node.num} is not UP yet`);

  const handlers: Handlers<typeof dlm> = {
    view: ({ view, self }) => {
      apply(view, self);
      return ok();
    },
    nodedown: ({ dead, transid }) => recovery.nodedown(dead, transid),
    status: () =>
      ok({
        service: dlm.name,
        state: node.view ? 'serving' : 'starting',
        uptimeMs: clock.nowMs() - startedMs,
        counters: {
          resources: masters.keys().length,
          mastered: masters.locks,
          directory: directory.size,
          sessions: agent.sessions.size,
          locks: agent.size,
          orphans: agent.orphans.size,
          ...masters.counters,
          ...deadlocks.counters,
          recovering: recovery.barrier ? 1 : 0,
          ...refusals(ics),
        },
      }),
    lock: async (q, call) => ((await ready()) ? agent.lock(q, call.signal) : notUp()),
    unlock: (q) => agent.unlock(q),
    cancel: (q) => agent.cancel(q),
    close: async ({ session }) => {
      await agent.close(session);
      return ok({});
    },
    asts: async (q, call) => {
      if (!(await ready())) return notUp();
      const found = q.open ? agent.sessions.open(q) : undefined;
      if (found && !found.ok) return found;
      const session = found?.value ?? agent.sessions.get(q.session);
      if (!session) return fail('ESRCH', 'the session is over: its locks are lost');
      const blocking = q.open ? [] : await agent.sessions.wait(session, q.after, call.signal);
      if (agent.sessions.get(q.session) !== session)
        return fail('ESRCH', 'the session is over: its locks are lost');
      return ok({ sessionMs, blocking: [...blocking] });
    },
    purge: async (q) => ok({ purged: await agent.purge(q) }),
    list: ({ lockspace }) =>
      ok({ ...masters.list(lockspace, listMax), orphans: agent.orphans.lkids() }),
    lookup: (q, call) => directory.lookup(q, call.from.node),
    forget: ({ key }, call) => {
      directory.forget(key, call.from.node);
      return ok({});
    },
    ask: async (q, call) => {
      const reply = await masters.ask(q, call.from.node, call.signal);
      if (!reply.ok) notMaster(q.key);
      return reply;
    },
    release: (q) => masters.release(q),
    rebuild: (q, call) => {
      const reply = masters.rebuild(q, call.from.node);
      if (!reply.ok) notMaster(q.key);
      return reply;
    },
    told: (q, call) => {
      agent.told(q, call.from.node);
      return ok();
    },
    suspect: () => {
      deadlocks.search();
      return ok();
    },
    waits: () => ok({ resources: masters.waits() }),
    census: async ({ transid, bootId }, call) => {
      recovery.heard(call.from.node, bootId);
      if (!(await node.atView(transid, 1_000))) return fail('EAGAIN', 'not at your view yet');
      const keys = masters.keys().filter((key) => node.directoryOf(key) === call.from.node);
      return ok({ bootId: ics.self.bootId, keys });
    },
    barrier: (q) => recovery.at(q),
  };

  let outlive = (): void => {};
  const outlived = new Promise<void>((done) => {
    outlive = done;
  });
  function stop(): void {
    node.stopped = true;
    router?.stop();
  }

  function apply(view: View, self: MemberId): void {
    if (node.stopped) return;
    if (node.self && !sameIncarnation(node.self.incarnation, self.incarnation)) {
      stop();
      outlive();
      return;
    }
    heardMs = clock.nowMs();
    node.applyView(view, self);
    router?.self(self);
  }

  async function attach(): Promise<void> {
    const request = { service: ics.self.service, bootId: ics.self.bootId, pid: deps.servicePid };
    while (!node.stopped) {
      const reply = await ics.call(clms, 'attach', node.num, request, { timeoutMs: 1_000 });
      if (reply.ok) return apply(reply.value.view, reply.value.self);
      await sleep(clock, attachRetryMs);
    }
  }

  async function every(ms: number, run: () => Promise<void> | void): Promise<void> {
    for (;;) {
      await sleep(clock, ms);
      if (node.stopped) return;
      await run();
    }
  }

  return {
    async start() {
      ics.serve(dlm, handlers, { inWorkMax: 1_024, queueMax: 100_000 });
      if (deps.setMap) router = linkRouter({ ...deps, setMap: deps.setMap });
      await attach();
      void node.followLease();
      void every(silenceMs / 4, () => {
        if (clock.nowMs() - heardMs >= silenceMs) return attach();
      });
      if (deadlockMs > 0)
        void every(deadlockMs / 2, () => {
          if (agent.waitsLong()) deadlocks.suspect();
        });
      void every(sweepMs, () => {
        if (node.leased) agent.sessions.sweep();
        masters.sweep();
      });
    },
    stop,
    outlived,
  };
}
