// What lock managers ask each other: as directory, as master, as agent. What comes from a life that is over is
// ESTALE, and a lock manager that still starts is there for nobody.
import { type dlm, fail, ok, type Reply, type RequestOf } from '@ssi/contracts';
import type { Handlers, ServedCall } from '@ssi/ports';
import type { Agent } from './agent.ts';
import type { DeadlockSearch } from './deadlock-search.ts';
import type { Directory } from './directory.ts';
import type { Homes } from './homes.ts';
import type { LocalNode } from './local-node.ts';
import type { Masters } from './masters.ts';
import type { Recovery } from './recovery.ts';

type Told = Reply<Record<string, never>, never>;
type PeerCalls = Pick<
  Handlers<typeof dlm>,
  | ('lookup' | 'forget' | 'yield' | 'moving' | 'named' | 'ask' | 'release' | 'told')
  | ('suspect' | 'waits' | 'census' | 'lost' | 'remaster' | 'rebuild')
>;

export function peerCalls(q: {
  readonly node: LocalNode;
  readonly directory: Directory;
  readonly masters: Masters;
  readonly homes: Homes;
  readonly agent: Agent;
  readonly recovery: Recovery;
  readonly deadlocks: DeadlockSearch;
  /** A master gives up what is held here. */
  readonly moving: (q: RequestOf<typeof dlm.ops.moving>, from: number) => Told;
  /** This node became master of it. */
  readonly named: (key: string) => Promise<Reply<Record<string, never>, 'EAGAIN'>>;
}): PeerCalls {
  const { node, directory, masters, homes, agent, recovery, deadlocks, moving, named } = q;

  /** Whether this lock manager is there, and the one that asks not of a life that is over. */
  function heard(
    { life }: { readonly life: number },
    call: ServedCall,
  ): Reply<undefined, 'EAGAIN' | 'ESTALE'> {
    if (node.life === undefined) return fail('EAGAIN', 'it still starts');
    if (!node.lives.hear(call.from.node, life)) return fail('ESTALE', 'that life is over');
    return ok();
  }

  const notMaster = (key: string) => {
    // It may be that the directory named this node and the answer was lost: then it is master by this.
    if (!masters.name(key) && !masters.forgetting(key)) void homes.lookup(key);
  };

  return {
    lookup: async (q, call) => {
      const is = heard(q, call);
      return is.ok ? directory.lookup(q, call.from.node) : is;
    },
    forget: (q, call) => {
      const is = heard(q, call);
      if (!is.ok) return is;
      directory.forget(q.key, call.from.node);
      return ok({});
    },
    yield: async (q, call) => {
      const is = heard(q, call);
      return is.ok ? directory.yield(q, call.from.node) : is;
    },
    moving: (q, call) => {
      const is = heard(q, call);
      return is.ok ? moving(q, call.from.node) : is;
    },
    named: async (q, call) => {
      const is = heard(q, call);
      return is.ok ? named(q.key) : is;
    },
    ask: async (q, call) => {
      const is = heard(q, call);
      if (!is.ok) return is;
      const reply = await masters.ask(q, call.from.node, call.signal);
      if (!reply.ok) notMaster(q.key);
      return reply;
    },
    release: async (q, call) => {
      const is = heard(q, call);
      return is.ok ? masters.release(q) : is;
    },
    told: (q, call) => {
      if (heard(q, call).ok) agent.driver.told(q, call.from.node);
      return ok();
    },
    suspect: () => {
      deadlocks.search();
      return ok();
    },
    waits: ({ after }) => ok(masters.waits(after)),
    census: (q, call) => recovery.census(q, call.from.node),
    lost: (q, call) => recovery.lost(q, call.from.node),
    remaster: (q, call) => {
      const is = heard(q, call);
      return is.ok ? recovery.remaster(q, call.from.node) : is;
    },
    rebuild: (q, call) => {
      const is = heard(q, call);
      return is.ok ? recovery.rebuild(q, call.from.node) : is;
    },
  };
}
