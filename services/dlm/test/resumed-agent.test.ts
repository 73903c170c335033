// What the next life of a lock manager makes of what its clients tell it: trees and byte ranges, by the agent alone.
import { childKeyOf, keyOf, type LockRange, ok } from '@ssi/contracts';
import { expect, test } from 'vitest';
import type { ResumeRequest } from '../src/resuming.ts';
import { until } from './cluster.ts';
import { granted, loneAgent, session } from './lone-agent.ts';

type Resumed = ResumeRequest['locks'][number];
const top = keyOf('ls', 'top');
const leafKey = childKeyOf(childKeyOf(top, 'middle'), 'leaf');
const told = (ref: number, resource: string, q: Partial<Resumed> = {}): Resumed => ({
  ...{ ref, op: 1, lockspace: 'ls', resource, mode: 'CR', bast: false, persistent: false },
  copy: { lkid: 1_000 + ref, valueSeq: 0, valueKnown: false },
  ...q,
});
const middle = told(2, 'middle', { parent: 1, parents: ['top'] });
const leaf = told(3, 'leaf', { parent: 2, parents: ['top', 'middle'] });

test('DLM: resume: a tree is one again, also over pages: a parent is not given up before what is under it', async () => {
  const { agent, session: of, fetch, released } = loneAgent();
  agent.resume(of, [told(1, 'top'), middle]);
  agent.resume(of, [leaf]);
  expect(fetch(2, 1, leafKey)).toMatchObject([{ lkid: 1_003, mode: 'CR' }]);
  expect(await agent.unlock({ session, ref: 1 })).toMatchObject({ errno: 'EBUSY' });
  expect(await agent.unlock({ session, ref: 2 })).toMatchObject({ errno: 'EBUSY' });
  const over = agent.unlock({ session, ref: 3 });
  await until('it is released', () => released.length === 1);
  expect(released[0]?.q.key).toBe(leafKey);
  released[0]?.answer();
  expect((await over).ok).toBe(true);
});

test('DLM: resume: a parent that was given up since an earlier page: its child is there, under its name', async () => {
  const { agent, session: of, fetch, released } = loneAgent();
  agent.resume(of, [told(1, 'top', { giving: { flags: [] } })]);
  fetch(2, 1, top);
  await until('the parent is released', () => released.length === 1);
  released[0]?.answer();
  await until('it is gone', () => agent.copies.size === 0);
  agent.resume(of, [told(2, 'leaf', { parent: 1, parents: ['top'] })]);
  expect(agent.copies.held(childKeyOf(top, 'leaf'))).toMatchObject([{ lkid: 1_002 }]);
});

test('DLM: resume: a range operation that was cut short: what it may have given up is not claimed', () => {
  const { agent, session: of } = loneAgent();
  const ranges = [{ start: 0, end: 10, write: true }];
  const owner = (ref: number, giving: LockRange) =>
    told(ref, `file${ref}`, {
      ...{ mode: 'NL', copy: { lkid: ref, valueSeq: 0, valueKnown: false, ranges } },
      giving: { mode: 'NL', flags: [], range: giving },
    });
  agent.resume(of, [
    owner(1, { type: 'none', start: 0, length: 5 }),
    owner(2, { type: 'read', start: 0, length: 5 }),
    owner(3, { type: 'write', start: 5, length: 0 }),
  ]);
  const has = (ref: number) => agent.copies.held(keyOf('ls', `file${ref}`))[0]?.ranges;
  expect(has(1)).toEqual([{ start: 5, end: 10, write: true }]);
  expect(has(2)).toEqual([
    { start: 0, end: 5, write: false },
    { start: 5, end: 10, write: true },
  ]);
  expect(has(3)).toEqual(ranges);
});

test('DLM: trees: while those under a parent are being given up by force, nothing new comes under it', async () => {
  const { agent, asked, released, lock } = loneAgent();
  const answer = async (n: number, reply: Promise<unknown>) => {
    await until('it asks', () => asked.length === n);
    asked[n - 1]?.answer(ok(granted));
    await reply;
  };
  await answer(1, lock({ ref: 1, resource: 'top' }));
  await answer(2, lock({ ref: 2, resource: 'leaf', parent: 1 }));
  const over = agent.unlock({ session, ref: 1, force: true });
  await until('what is under it is released', () => released.length === 1);
  expect(released[0]?.q.key).toBe(childKeyOf(top, 'leaf'));
  expect(await lock({ ref: 3, resource: 'other', parent: 1 })).toMatchObject({ errno: 'EINVAL' });
  expect(await lock({ ref: 4, resource: 'other', parent: 2 })).toMatchObject({ errno: 'EINVAL' });
  released[0]?.answer();
  await until('it is released itself', () => released.length === 2);
  released[1]?.answer();
  expect((await over).ok).toBe(true);
  expect(agent.copies.size).toBe(0);
});
