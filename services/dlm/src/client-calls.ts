// What clients of this node call: sessions, and the locks in them. Served by a node that is UP, and not for a session
// of the former life of this lock manager before it has said what it holds.
import { type dlm, fail, ok } from '@ssi/contracts';
import type { Handlers } from '@ssi/ports';
import type { Agent } from './agent.ts';
import type { Directory } from './directory.ts';
import type { LocalNode } from './local-node.ts';
import type { Masters } from './masters.ts';
import type { Owners } from './owners.ts';
import type { Resuming } from './resuming.ts';

type ClientCalls = Pick<
  Handlers<typeof dlm>,
  'lock' | 'unlock' | 'cancel' | 'close' | 'asts' | 'resume' | 'purge' | 'list'
>;

export function clientCalls(q: {
  readonly node: LocalNode;
  readonly directory: Directory;
  readonly masters: Masters;
  readonly agent: Agent;
  readonly owners: Owners;
  readonly resuming: Resuming;
}): ClientCalls {
  const { node, directory, masters, agent, owners, resuming } = q;

  /** Once all others know of this life of the lock manager. */
  async function ready(): Promise<boolean> {
    await directory.settled;
    return node.isUp;
  }
  const resumeFirst = () => fail('EREMCHG', 'the lock manager was started again: resume');
  const notUp = () => fail('EAGAIN', `node ${node.num} is not UP yet`);
  const isOver = () => fail('ESRCH', 'the session is over: its locks are lost');

  return {
    lock: async (q, call) => {
      if (resuming.expects(q.session)) return resumeFirst();
      return (await ready()) ? agent.lock(q, call.signal) : notUp();
    },
    unlock: (q) => (resuming.expects(q.session) ? resumeFirst() : agent.unlock(q)),
    cancel: (q) => (resuming.expects(q.session) ? resumeFirst() : agent.cancel(q)),
    close: async ({ session }) => {
      resuming.ended(session);
      await agent.close(session);
      return ok({});
    },
    asts: async (q, call) => {
      if (resuming.expects(q.session)) return resumeFirst();
      const known = agent.sessions.get(q.session);
      if (!known && !(await ready())) return notUp();
      if (q.open) await resuming.opened(q.session);
      const found = q.open ? agent.sessions.open(q) : undefined;
      if (found && !found.ok) return found;
      const session = found?.value ?? agent.sessions.get(q.session);
      if (!session) return isOver();
      if (q.open) owners.watch(q.pid);
      const blocking = q.open ? [] : await agent.sessions.wait(session, q.after, call.signal);
      if (agent.sessions.get(q.session) !== session) return isOver();
      return ok({ sessionMs: session.silentMs, blocking: [...blocking] });
    },
    resume: (q) => {
      if (!resuming.begun) return fail('EAGAIN', 'it still starts');
      const known = agent.sessions.get(q.session);
      if (!known && !resuming.expects(q.session)) return isOver();
      const session = agent.sessions.open(q);
      if (!session.ok) return session;
      owners.watch(q.pid);
      // What is resumed later than that was told to others as lost.
      if (resuming.expects(q.session)) agent.resume(session.value, q.locks);
      if (!q.more) resuming.has(q.session);
      return ok({ sessionMs: session.value.silentMs });
    },
    purge: async (q) => ok({ purged: await agent.purge(q) }),
    list: (q) => ok({ ...masters.list(q), orphans: agent.copies.orphans.lkids() }),
  };
}
