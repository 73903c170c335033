// What an agent takes from a master, and when: a grant counts from the moment that it is here, and only as long
// as its master is the one that this node goes by.
import { keyOf, type LockRange, ok } from '@ssi/contracts';
import { expect, test } from 'vitest';
import { Lives, startsMax } from '../src/lives.ts';
import { until } from './cluster.ts';
import { granted, life, loneAgent } from './lone-agent.ts';

test('a grant on its way from a master that is lost is not taken: the next master is asked', async () => {
  const { node, asked, lock, fetch } = loneAgent();
  const reply = lock();
  await until('it asks', () => asked.length === 1);
  node.lives.hear(2, life + 1);
  asked[0]?.answer(ok(granted));
  await Promise.resolve();
  // The next one comes for what is held: nothing is.
  expect(fetch(3, 1)).toEqual([]);
  await until('it asks the next', () => asked.length === 2);
  expect(asked[1]?.to).toBe(3);
  asked[1]?.answer(ok({ ...granted, token: { transid: 2, n: 2 } }));
  expect(await reply).toMatchObject({ ok: true, value: { token: String(2n * 2n ** 35n + 2n) } });
});

test('a grant that is told is held from that moment on: a master that comes next hears of it', async () => {
  const { agent, asked, lock } = loneAgent();
  const reply = lock();
  await until('it asks', () => asked.length === 1);
  const { lkid, op } = asked[0]?.q ?? { lkid: 0, op: 0 };
  agent.driver.told({ life, lkid, op, outcome: granted }, 2);
  expect(agent.copies.held(keyOf('ls', 'r'))).toMatchObject([{ lkid, mode: 'EX' }]);
  asked[0]?.answer(ok({ state: 'queued' }));
  expect(await reply).toMatchObject({ ok: true });
});

test('a client whose call is cut short asks again, and has what was granted meanwhile', async () => {
  const { agent, asked, released, lock } = loneAgent();
  const call = new AbortController();
  const first = lock({}, call.signal);
  await until('it asks', () => asked.length === 1);
  call.abort();
  const again = lock();
  asked[0]?.answer(ok(granted));
  expect(await again).toMatchObject({ ok: true });
  await first;
  expect(released).toEqual([]);
  expect(agent.copies.held(keyOf('ls', 'r'))).toMatchObject([{ mode: 'EX' }]);
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

const range = (type: LockRange['type'], start: number, length: number): LockRange => ({
  ...{ type, start, length },
});
const nl = { ...granted, mode: 'NL' as const, token: undefined };

test('what a next master was not told of a range is not there for the one after it, though the operation failed', async () => {
  const { node, asked, lock, fetch } = loneAgent();
  const opened = lock({ mode: 'NL' });
  await until('it asks', () => asked.length === 1);
  asked[0]?.answer(ok(nl));
  await opened;
  const written = lock({ mode: 'NL', op: 2, range: range('write', 0, 10) });
  await until('it asks for a range', () => asked.length === 2);
  asked[1]?.answer(ok(nl));
  await written;
  const reading = lock({ mode: 'NL', op: 3, range: range('read', 5, 10), flags: ['NOQUEUE'] });
  await until('it asks to read', () => asked.length === 3);
  node.lives.hear(2, life + 1);
  const left = [
    { start: 0, end: 5, write: true },
    { start: 5, end: 10, write: false },
  ];
  expect(fetch(3, 1)).toMatchObject([{ ranges: left, op: 2 }]);
  asked[2]?.answer(ok({ state: 'queued' }));
  await until('it asks the next', () => asked.length === 4);
  asked[3]?.answer(ok({ state: 'refused', errno: 'EAGAIN', detail: '' }));
  expect(await reading).toMatchObject({ errno: 'EAGAIN' });
  expect(fetch(4, 2)).toMatchObject([{ ranges: left }]);
});
