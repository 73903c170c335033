// What an agent takes from a master, and when: a grant counts from the moment that it is here, and only as long
// as its master is the one that this node goes by.
import { keyOf, ok } from '@ssi/contracts';
import { type Clock, type Ics, noLog } from '@ssi/ports';
import { expect, test } from 'vitest';
import { Agent, type AgentDeps } from '../src/agent.ts';
import { Homes } from '../src/homes.ts';
import { Lives, startsMax } from '../src/lives.ts';
import { LocalNode } from '../src/local-node.ts';
import type { ReleaseRequest } from '../src/masters.ts';
import { until } from './cluster.ts';

const life = startsMax + 1;
const key = keyOf('ls', 'r');
const session = '1'.padStart(16, '0');
const granted = {
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

/** Node 1, whose directory names node 2 as master of everything. */
function agentOfNode1() {
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
  const released: ReleaseRequest[] = [];
  const agent = new Agent({
    ...{ node, homes, deadlockMs: 60_000, ended: () => {} },
    ask: (to, q) => new Promise((answer) => asked.push({ to, q, answer })),
    release: async (_to, q) => {
      released.push(q);
      return ok({});
    },
  });
  node.onGone((num) => agent.masterLost(num));
  agent.sessions.open({ session });
  const q = { session, ref: 1, op: 1, lockspace: 'ls', resource: 'r', mode: 'EX' as const };
  const reply = agent.lock(q, new AbortController().signal);
  return { node, homes, agent, asked, released, reply };
}

test('a grant on its way from a master that is lost is not taken: the next master is asked', async () => {
  const { node, homes, agent, asked, reply } = agentOfNode1();
  await until('it asks', () => asked.length === 1);
  node.lives.hear(2, life + 1);
  asked[0]?.answer(ok(granted));
  await Promise.resolve();
  // The next one comes for what is held: nothing is.
  homes.fetched(key, { node: 3, life, since: { transid: 2, n: 1 } });
  expect(agent.held(key)).toEqual([]);
  agent.masterFound(key);
  await until('it asks the next', () => asked.length === 2);
  expect(asked[1]?.to).toBe(3);
  asked[1]?.answer(ok({ ...granted, token: { transid: 2, n: 2 } }));
  expect(await reply).toMatchObject({ ok: true, value: { token: String(2n * 2n ** 35n + 2n) } });
});

test('a grant that is told is held from that moment on: a master that comes next hears of it', async () => {
  const { agent, asked, reply } = agentOfNode1();
  await until('it asks', () => asked.length === 1);
  const { lkid, op } = asked[0]?.q ?? { lkid: 0, op: 0 };
  agent.told({ life, lkid, op, outcome: granted }, 2);
  expect(agent.held(key)).toMatchObject([{ lkid, mode: 'EX' }]);
  asked[0]?.answer(ok({ state: 'queued' }));
  expect(await reply).toMatchObject({ ok: true });
});

test('an asking that was on its way when the refusal came is taken back: to its master it is a new lock', async () => {
  const { agent, asked, released, reply } = agentOfNode1();
  await until('it asks', () => asked.length === 1);
  const { lkid, op } = asked[0]?.q ?? { lkid: 0, op: 0 };
  const refused = { state: 'refused' as const, errno: 'ETIMEDOUT' as const, detail: '' };
  agent.told({ life, lkid, op, outcome: refused }, 2);
  asked[0]?.answer(ok({ state: 'queued' }));
  expect(await reply).toMatchObject({ ok: false, errno: 'ETIMEDOUT' });
  expect(released).toMatchObject([{ lkid, force: true }]);
  expect(agent.size).toBe(0);
});

test('lives: the newest word counts, however late an older one comes; a death ends all of that boot', () => {
  const gone: number[] = [];
  const lives = new Lives((node) => gone.push(node));
  expect(lives.hear(2, startsMax + 2)).toBe(true);
  expect(lives.hear(2, startsMax + 1)).toBe(false);
  expect(lives.alive(2)).toBe(startsMax + 2);
  lives.nodeOver(2, 1);
  expect(lives.alive(2)).toBe(undefined);
  expect(lives.hear(2, startsMax + 3)).toBe(false);
  expect(lives.hear(2, 2 * startsMax + 1)).toBe(true);
  expect(gone).toEqual([2, 2, 2]);
});
