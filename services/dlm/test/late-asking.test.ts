// What a master makes of an agent that asks again: an operation is one, however often and however late it is asked for.
import { fail, keyOf } from '@ssi/contracts';
import { type Clock, type Ics, noLog } from '@ssi/ports';
import { expect, test } from 'vitest';
import { startsMax } from '../src/lives.ts';
import { LocalNode } from '../src/local-node.ts';
import { Masters } from '../src/masters.ts';
import { life, session } from './lone-agent.ts';

const key = keyOf('ls', 'r');
const clock: Clock = { nowMs: () => 0, wallMs: () => 0, after: () => ({ cancel: () => {} }) };

test('an asking that was on its way when the refusal went out ends alike, and is no new lock', async () => {
  const self = { node: 1, service: 'dlm', bootId: '0'.repeat(16) };
  const node = new LocalNode({ ics: { self } as Ics, clock, log: noLog });
  node.life = life;
  const told: unknown[] = [];
  const block = { transid: 1, first: 1, last: 64 };
  const masters = new Masters({
    ...{ node, tell: (_, q) => told.push(q), refill: async () => block, forget: async () => {} },
    rebuild: async () => fail('EAGAIN', 'not asked for here'),
    moveLead: 0,
    moving: async () => fail('EAGAIN', 'not asked for here'),
    yield: async () => fail('EAGAIN', 'not asked for here'),
  });
  masters.create(key, block, { recover: [], valueLost: false });
  const ask = (lkid: number, ofLife = life) =>
    masters.ask(
      {
        ...{ life: ofLife, key, lkid, op: 1, convert: false, mode: 'EX', flags: 0 },
        ...{ bast: false, who: { session } },
      },
      2,
    );
  const release = (lkid: number, cancel?: 'ETIMEDOUT') =>
    masters.release({
      ...{ life, key, lkid, op: 1, flags: 0, force: true },
      ...(cancel && { cancel }),
    });
  expect(await ask(7)).toMatchObject({ value: { state: 'granted' } });
  expect(await ask(8)).toMatchObject({ value: { state: 'queued' } });
  expect(await release(8, 'ETIMEDOUT')).toMatchObject({ ok: true });
  expect(told).toMatchObject([{ lkid: 8, outcome: { errno: 'ETIMEDOUT' } }]);
  expect(await ask(8)).toMatchObject({ value: { state: 'refused', errno: 'ETIMEDOUT' } });
  // The next boot of that node counts its locks from the start again.
  expect(await ask(8, life + startsMax)).toMatchObject({ value: { state: 'queued' } });
  await release(8);
  await release(7);
  expect(masters.locks).toBe(0);
});
