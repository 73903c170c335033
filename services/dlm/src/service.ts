// Wires the lock manager together: which part serves which operation. The same code runs in a process of
// its own, hosted with others, and in the simulator.
import {
  dlm,
  fail,
  type MemberId,
  ok,
  type Reply,
  type RequestOf,
  type ServiceEndpoint,
  type View,
} from '@ssi/contracts';
import { linkMembership, linkRouter, type RouterLink } from '@ssi/ics';
import { type Clock, type Handlers, type Ics, type Log, refusals, repeat } from '@ssi/ports';
import { Agent } from './agent.ts';
import { clientCalls } from './client-calls.ts';
import { DeadlockSearch } from './deadlock-search.ts';
import { Directory } from './directory.ts';
import { Homes } from './homes.ts';
import { startsMax } from './lives.ts';
import { LocalNode, untilDirectory } from './local-node.ts';
import type { ReleaseRequest } from './mastered.ts';
import { Masters } from './masters.ts';
import { moveLeadDefault } from './moving.ts';
import { Owners } from './owners.ts';
import { peerCalls } from './peer-calls.ts';
import type { SessionRecord, TokenRecord } from './ports.ts';
import { Recovery } from './recovery.ts';
import { Resuming } from './resuming.ts';
import { type Block, TokenSource } from './tokens.ts';

const sweepMs = 1_000;
/** VMS waits for 10 s, since a search was dear there; here it is two questions to each node. */
export const deadlockDefaultMs = 100;

export interface DlmDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly log: Log;
  readonly tokens: TokenRecord;
  /** Absent: sessions end with the life of this service. */
  readonly sessions?: SessionRecord;
  /** This service's own process id, for membership's list; 0 in a simulation. */
  readonly servicePid: number;
  /** What waits for so long, ms, is looked at for deadlocks over several resources; 0: nothing is. */
  readonly deadlockMs?: number;
  /** One node's operations on a resource must outnumber all others' by so many for it to become master; 0: never. */
  readonly moveLead?: number;
  /** Between two moves of a resource, ms; absent: 1 s. */
  readonly moveRestMs?: number;
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
  const { ics, clock, deadlockMs = deadlockDefaultMs, moveLead = moveLeadDefault } = deps;
  const node = new LocalNode(deps);
  const startedMs = clock.nowMs();
  const tokens = new TokenSource(deps.tokens);
  const resuming = new Resuming(deps.sessions, clock);
  let router: RouterLink | undefined;

  const own = (to: number): boolean => to === node.num;
  const directory: Directory = new Directory({
    ...{ node, tokens },
    mourning: () => recovery.mourning,
    census: (to, q) => (own(to) ? recovery.census(q, to) : ics.call(dlm, 'census', to, q)),
    lost: (to, q) => (own(to) ? recovery.lost(q, to) : ics.call(dlm, 'lost', to, q)),
    remaster: async (to, q) =>
      own(to) ? recovery.remaster(q, to) : ics.call(dlm, 'remaster', to, q),
    named: (to, q) => (own(to) ? named(q.key) : ics.call(dlm, 'named', to, q)),
  });
  const homes: Homes = new Homes({
    node,
    lookup: (to, q) => (own(to) ? directory.lookup(q, to) : ics.call(dlm, 'lookup', to, q)),
    mastered: (key, block, q) => masters.create(key, block, q),
    isMaster: (key) => masters.name(key),
    forgetting: (key) => masters.forgetting(key),
  });
  const masters: Masters = new Masters({
    ...{ node, refill, forget, moveLead, moveRestMs: deps.moveRestMs },
    moving: async (to, q) => (own(to) ? moving(q, to) : ics.call(dlm, 'moving', to, q)),
    yield: (to, q) => (own(to) ? directory.yield(q, to) : ics.call(dlm, 'yield', to, q)),
    rebuild: async (to, q) => (own(to) ? recovery.rebuild(q, to) : ics.call(dlm, 'rebuild', to, q)),
    tell: (to, q) => {
      if (own(to)) agent.driver.told(q, to);
      else ics.send(dlm, 'told', to, q);
    },
  });
  const release = (to: number, q: ReleaseRequest) =>
    own(to) ? masters.release(q) : ics.call(dlm, 'release', to, q);
  const agent: Agent = new Agent({
    ...{ node, homes, release, deadlockMs: deadlockMs || Number.MAX_SAFE_INTEGER },
    ended: (session) => resuming.ended(session),
    ask: (to, q) => (own(to) ? masters.ask(q, to) : ics.call(dlm, 'ask', to, q)),
  });
  const owners = new Owners(node, agent.sessions);
  const deadlocks = new DeadlockSearch({ node, masters, release });
  const recovery: Recovery = new Recovery(node, {
    ...{ masters, directory, homes, driver: agent.driver, copies: agent.copies },
  });

  async function refill(key: string): Promise<Block> {
    const reply = await untilDirectory(node, key, (to) => {
      const q = { life: node.life ?? 0, key, tokensOnly: true, transid: node.transid };
      return own(to) ? directory.lookup(q, to) : ics.call(dlm, 'lookup', to, q);
    });
    return reply.tokens ?? { transid: 0, first: 1, last: 0 };
  }

  async function forget(key: string): Promise<void> {
    await untilDirectory<unknown>(node, key, async (to) => {
      if (!own(to)) return ics.call(dlm, 'forget', to, { life: node.life ?? 0, key });
      directory.forget(key, node.num);
      return ok({});
    });
  }

  /** A master gives up what is held here: the next one comes for it. */
  function moving(
    q: RequestOf<typeof dlm.ops.moving>,
    from: number,
  ): Reply<Record<string, never>, never> {
    const { key, life, since } = q;
    homes.moving(key, { node: from, life, since });
    agent.copies.masterFound(key);
    return ok({});
  }

  async function named(key: string): Promise<Reply<Record<string, never>, 'EAGAIN'>> {
    const at = await homes.lookup(key);
    return at ? ok({}) : fail('EAGAIN', 'its directory does not say so yet');
  }

  const handlers: Handlers<typeof dlm> = {
    view: ({ view, self }) => {
      membership.told(view, self);
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
          locks: agent.copies.size,
          orphans: agent.copies.orphans.size,
          ...masters.counters,
          remastered: masters.fetching.remastered,
          moved: masters.moving.moved,
          ...deadlocks.counters,
          recovering:
            directory.isSettled && homes.lostCount === 0 && !masters.fetching.isBusy ? 0 : 1,
          ...refusals(ics),
        },
      }),
    ...clientCalls({ node, directory, masters, agent, owners, resuming }),
    ...peerCalls({
      ...{ node, directory, masters, homes, agent, recovery, deadlocks, moving, named },
    }),
  };

  let outlive = (): void => {};
  const outlived = new Promise<void>((done) => {
    outlive = done;
  });
  function stop(): void {
    node.stopped = true;
    membership.stop();
    router?.stop();
  }

  function apply(view: View, self: MemberId): void {
    node.applyView(view, self);
    router?.self(self);
  }

  /** From here on it is there for others, in a life that none of its former ones can be taken for. */
  async function begin(): Promise<void> {
    const starts = await tokens.start();
    agent.copies.countFrom(starts);
    const boot = node.self?.incarnation.bootCount;
    if (boot === undefined) return;
    await resuming.all(boot);
    if (node.stopped) return;
    const life = boot * startsMax + starts;
    node.life = life;
    node.lives.hear(node.num, life);
    directory.hearAll();
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
      await resuming.load();
      ics.serve(dlm, handlers, { inWorkMax: 1_024, queueMax: 100_000 });
      if (deps.setMap) router = linkRouter({ ...deps, setMap: deps.setMap });
      await membership.start();
      void node.followLease();
      void begin();
      if (deadlockMs > 0)
        every(deadlockMs / 2, () => {
          if (agent.driver.waitsLong()) deadlocks.suspect();
        });
      every(sweepMs, () => {
        if (node.leased) agent.sessions.sweep();
        masters.sweep();
      });
    },
    stop,
    outlived,
  };
}
