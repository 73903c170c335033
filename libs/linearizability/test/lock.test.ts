// The lock model, rule by rule.
import { expect, test } from 'vitest';
import {
  check,
  type HistoryEvent,
  type LockInput,
  type LockMode,
  type LockOutput,
  lock,
} from '../src/index.ts';

type Event = HistoryEvent<LockInput, LockOutput>;
/** One call with nothing beside it. */
const call = (input: LockInput, output: LockOutput = {}): Event[] => [
  { type: 'invoke', client: input.owner, input },
  { type: 'ok', client: input.owner, output },
];
const take = (owner: string, mode: LockMode, output: LockOutput = {}) =>
  call({ op: 'lock', owner, mode }, output);
const drop = (owner: string, value?: string) =>
  call({ op: 'unlock', owner, ...(value !== undefined && { value }) });
const convert = (owner: string, mode: LockMode, value?: string, output: LockOutput = {}) =>
  call({ op: 'convert', owner, mode, ...(value !== undefined && { value }) }, output);
const die = (owner: string) => call({ op: 'die', owner });
const verdict = (...parts: Event[][]) => check(lock('v'), parts.flat()).outcome;
const bad = 'not-linearizable';

test('two EX holders are refused; one after the other is fine', () => {
  expect(verdict(take('a', 'EX'), take('b', 'EX'))).toBe(bad);
  expect(verdict(take('a', 'EX'), drop('a'), take('b', 'EX'))).toBe('ok');
});

test('the matrix: each pair of modes is held together or not, either way round', () => {
  const modes: LockMode[] = ['NL', 'CR', 'CW', 'PR', 'PW', 'EX'];
  const apart = modes.flatMap((a) =>
    modes.filter((b) => verdict(take('a', a), take('b', b)) === bad).map((b) => `${a} ${b}`),
  );
  expect(apart).toEqual([
    ...['CR EX', 'CW PR', 'CW PW', 'CW EX', 'PR CW', 'PR PW', 'PR EX'],
    ...['PW CW', 'PW PR', 'PW PW', 'PW EX', 'EX CR', 'EX CW', 'EX PR', 'EX PW', 'EX EX'],
  ]);
  expect(verdict(take('a', 'PR'), take('b', 'PR'), convert('a', 'EX'))).toBe(bad);
});

test('tokens grow from grant to grant; a conversion may keep its own', () => {
  const first = take('a', 'EX', { token: 5n });
  expect(verdict(first, drop('a'), take('b', 'EX', { token: 6n }))).toBe('ok');
  expect(verdict(first, drop('a'), take('b', 'EX', { token: 5n }))).toBe(bad);
  expect(verdict(first, die('a'), take('b', 'EX', { token: 4n }))).toBe(bad);
  expect(verdict(first, convert('a', 'PW', undefined, { token: 5n }))).toBe('ok');
  expect(verdict(first, convert('a', 'PW', undefined, { token: 4n }))).toBe(bad);
});

test('the value block comes back as it was written: by a conversion down, or an unlock, of PW or EX', () => {
  const reads = (value: string, valid = true) => take('z', 'CR', { value, valid });
  expect(verdict(reads('v'))).toBe('ok');
  expect(verdict(take('a', 'EX'), drop('a', 'w'), reads('w'))).toBe('ok');
  expect(verdict(take('a', 'EX'), drop('a', 'w'), reads('v'))).toBe(bad);
  expect(verdict(take('a', 'PR'), drop('a', 'w'), reads('v'))).toBe('ok');
  expect(verdict(take('a', 'EX'), convert('a', 'PR', 'w'), reads('w'))).toBe('ok');
  expect(verdict(take('a', 'PW'), convert('a', 'EX', 'w'), drop('a'), reads('v'))).toBe('ok');
});

test('a writer’s death makes the value block invalid until it is written again; a reader’s does not', () => {
  const told = (valid: boolean) => take('z', 'CR', { valid });
  expect(verdict(take('a', 'PW'), die('a'), told(false))).toBe('ok');
  expect(verdict(take('a', 'PW'), die('a'), told(true))).toBe(bad);
  expect(verdict(take('a', 'PR'), die('a'), told(true))).toBe('ok');
  const repaired = [take('b', 'EX', { valid: false }), drop('b', 'w')].flat();
  expect(verdict(take('a', 'PW'), die('a'), repaired, told(true))).toBe('ok');
});

test('an unlock whose answer was lost may have let the next one in', () => {
  const lost: Event[] = [
    { type: 'invoke', client: 'a', input: { op: 'unlock', owner: 'a', value: 'w' } },
    { type: 'info', client: 'a' },
  ];
  expect(verdict(take('a', 'EX'), lost, take('b', 'EX', { value: 'w' }))).toBe('ok');
  expect(verdict(take('a', 'EX'), lost, take('b', 'EX', { value: 'v' }))).toBe(bad);
});

test('resources are apart', () => {
  const on = (resource: string, owner: string) => call({ op: 'lock', resource, owner, mode: 'EX' });
  expect(verdict(on('r', 'a'), on('s', 'b'))).toBe('ok');
});
