// The agent of node 1 by itself: its directory names node 2 as master of everything, and the test plays the masters.
import { type dlm, keyOf, ok, type Reply, type RequestOf } from '@ssi/contracts';
import { type Clock, type Ics, noLog } from '@ssi/ports';
import { Agent, type AgentDeps } from '../src/agent.ts';
import type { LockReply } from '../src/agent-lock.ts';
import { Homes } from '../src/homes.ts';
import { startsMax } from '../src/lives.ts';
import { LocalNode } from '../src/local-node.ts';
import type { ReleaseRequest } from '../src/mastered.ts';
import type { Session } from '../src/sessions.ts';

export const life = startsMax + 1;
export const session = '1'.padStart(16, '0');
export const granted = {
  ...{ state: 'granted' as const, mode: 'EX' as const, token: { transid: 1, n: 1 } },
  ...{ valueSeq: 0, valueInvalid: false, altMode: false, demoted: false },
};
const clock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => 0,
  after: (delayMs, fn) => {
    const timer = setTimeout(fn, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

type Asked =
  Parameters<AgentDeps['ask']> extends [infer To, infer Q]
    ? { to: To; q: Q; answer: (reply: Awaited<ReturnType<AgentDeps['ask']>>) => void }
    : never;
type LockQuery = Partial<RequestOf<typeof dlm.ops.lock>>;

export function loneAgent() {
  const self = { node: 1, service: 'dlm', bootId: '0'.repeat(16) };
  const node = new LocalNode({ ics: { self } as Ics, clock, log: noLog });
  node.life = life;
  Object.defineProperty(node, 'leased', { value: true });
  Object.defineProperty(node, 'directoryOf', { value: () => 2 });
  const homes = new Homes({
    node,
    lookup: async () => ok({ master: 2, life, since: { transid: 1, n: 1 } }),
    ...{ mastered: () => {}, isMaster: () => undefined, forgetting: () => undefined },
  });
  const asked: Asked[] = [];
  /** What is released is not answered before the test says so. */
  const released: { readonly q: ReleaseRequest; readonly answer: () => void }[] = [];
  const agent = new Agent({
    ...{ node, homes, deadlockMs: 60_000, ended: () => {} },
    ask: (to, q) => new Promise((answer) => asked.push({ to, q, answer })),
    release: (_, q) => new Promise((done) => released.push({ q, answer: () => done(ok({})) })),
  });
  node.onGone((num) => agent.driver.masterLost(num));
  const opened = agent.sessions.open({ session }) as Reply<Session> & { ok: true };
  const lock = (
    q: LockQuery = {},
    signal: AbortSignal = new AbortController().signal,
  ): Promise<LockReply> => {
    const asks = { session, ref: 1, op: 1, lockspace: 'ls', resource: 'r', mode: 'EX' as const };
    return agent.lock({ ...asks, ...q }, signal);
  };
  /** Another master comes for what is held. */
  const fetch = (from: number, n: number, key = keyOf('ls', 'r')) => {
    homes.fetched(key, { node: from, life, since: { transid: 2, n } });
    return agent.copies.fetched(key);
  };
  return { node, homes, agent, session: opened.value, asked, released, lock, fetch };
}
