// Histories from the literature, with the verdicts that it gives.
import { expect, test } from 'vitest';
import {
  check,
  type HistoryEvent,
  type Model,
  operationsOf,
  picture,
  type RegisterInput,
  type RegisterOutput,
  register,
} from '../src/index.ts';

type Queue = HistoryEvent<{ op: 'enq' | 'deq'; value?: string }, { value?: string }>;
const queue: Model<string, { op: 'enq' | 'deq'; value?: string }, { value?: string }> = {
  init: '',
  step(held, input, output) {
    if (input.op === 'enq') return held + input.value;
    if (output && output.value !== held[0]) return undefined;
    return held.slice(1);
  },
  key: (held) => held,
};
const enq = (client: string, value: string): Queue => ({
  ...{ type: 'invoke', client, input: { op: 'enq', value } },
});
const deq = (client: string): Queue => ({ type: 'invoke', client, input: { op: 'deq' } });
const done = (client: string, value?: string): Queue => ({
  ...{ type: 'ok', client, output: value === undefined ? {} : { value } },
});

type Register = HistoryEvent<RegisterInput<number>, RegisterOutput<number>>;
const invoke = (client: string, input: RegisterInput<number>): Register => ({
  ...{ type: 'invoke', client, input },
});
const read = (client: string) => invoke(client, { op: 'read' });
const write = (client: string, value: number) => invoke(client, { op: 'write', value });
const cas = (client: string, expected: number, value: number) =>
  invoke(client, { op: 'cas', expected, value });
const ok = (client: string, output: RegisterOutput<number> = {}): Register => ({
  ...{ type: 'ok', client, output },
});
const info = (client: string): Register => ({ type: 'info', client });
const fail = (client: string): Register => ({ type: 'fail', client });

const verdict = (history: readonly Register[]) => check(register(0), history).outcome;

test('Herlihy & Wing 1990, figure 1: queue histories H1 and H3 are accepted, H2 and H4 are not', () => {
  const a = 'A';
  const b = 'B';
  const h1 = [
    ...[enq(a, 'x'), enq(b, 'y'), done(b), done(a)],
    ...[deq(b), done(b, 'x'), deq(a), done(a, 'y'), enq(a, 'z')],
  ];
  const h2 = [enq(a, 'x'), done(a), enq(b, 'y'), deq(a), done(b), done(a, 'y')];
  const h3 = [enq(a, 'x'), deq(b), done(b, 'x')];
  const h4 = [enq(a, 'x'), enq(b, 'y'), done(a), done(b)];
  const both = [...h4, deq(a), deq(b), done(a, 'y'), done(b, 'y')];
  expect(check(queue, h1).outcome).toBe('ok');
  expect(check(queue, h2).outcome).toBe('not-linearizable');
  expect(check(queue, h3).outcome).toBe('ok');
  expect(check(queue, both).outcome).toBe('not-linearizable');
});

test('a stale read after a write that returned is refused; one that overlaps it is not', () => {
  expect(verdict([write('A', 1), ok('A'), read('B'), ok('B', { value: 0 })])).toBe(
    'not-linearizable',
  );
  expect(verdict([write('A', 1), read('B'), ok('A'), ok('B', { value: 0 })])).toBe('ok');
});

test('new-old inversion: regular but not atomic [Lamport 1986] is refused', () => {
  const history = [
    ...[write('W', 1), read('A'), ok('A', { value: 1 })],
    ...[read('B'), ok('B', { value: 0 }), ok('W')],
  ];
  const found = check(register(0), history);
  expect(found).toMatchObject({ outcome: 'not-linearizable', prefixLength: 5, shortest: true });
});

test('sequentially consistent but not linearizable is refused', () => {
  const history = [
    ...[write('A', 1), ok('A'), write('B', 2), ok('B')],
    ...[read('A'), ok('A', { value: 1 }), read('B'), ok('B', { value: 2 })],
  ];
  expect(check(register(0), history)).toMatchObject({ prefixLength: 6, stuck: { client: 'A' } });
});

test('a lost update: two compare-and-sets from one value cannot both set', () => {
  const both = [cas('A', 0, 1), cas('B', 0, 2), ok('A', { set: true }), ok('B', { set: true })];
  expect(verdict(both)).toBe('not-linearizable');
  const one = [cas('A', 0, 1), cas('B', 0, 2), ok('A', { set: true }), ok('B', { set: false })];
  expect(verdict(one)).toBe('ok');
});

test('an unknown outcome may have taken effect late, never, but not before its invocation', () => {
  const lateRead = (value: number) => [read('B'), ok('B', { value })];
  const crashed = [write('A', 1), info('A')];
  expect(verdict([...crashed, ...lateRead(0), ...lateRead(1)])).toBe('ok');
  expect(verdict([...crashed, ...lateRead(0)])).toBe('ok');
  expect(verdict([...crashed, ...lateRead(1), ...lateRead(0)])).toBe('not-linearizable');
  expect(verdict([...lateRead(1), ...crashed])).toBe('not-linearizable');
  // The client goes on with another call while the first is open.
  expect(verdict([...crashed, write('A', 2), ok('A'), ...lateRead(2), ...lateRead(1)])).toBe('ok');
});

test('each of several operations alike may have happened, and no more than there are', () => {
  const crashed = (client: string) => [cas(client, 0, 1), info(client)];
  const back = [write('C', 0), ok('C')];
  const sawOne = [read('C'), ok('C', { value: 1 })];
  const twice = [...crashed('A'), ...crashed('B'), ...sawOne, ...back, ...sawOne];
  expect(verdict(twice)).toBe('ok');
  expect(verdict([...twice, ...back, ...sawOne])).toBe('not-linearizable');
});

test('one state reached with fewer of the unknown used up is another configuration', () => {
  // 2 then 1 leads to 1 and leaves nothing to read 2 from; 1 alone leads there too.
  const lost = [write('A', 2), info('A'), write('B', 1), info('B')];
  const set = [cas('C', 1, 0), ok('C', { set: true })];
  expect(verdict([...lost, ...set, read('C'), ok('C', { value: 2 })])).toBe('ok');
});

test('what failed did not happen', () => {
  expect(verdict([write('A', 1), fail('A'), read('B'), ok('B', { value: 1 })])).toBe(
    'not-linearizable',
  );
});

test('an operation that never returned counts as unknown', () => {
  expect(verdict([write('A', 1), read('B'), ok('B', { value: 1 })])).toBe('ok');
});

test('the shortest prefix knows of an outcome only once it was told', () => {
  // When B returned, A's compare-and-set may have made the 1; only A's own return denies it.
  const history = [
    ...[cas('A', 0, 1), read('B'), ok('B', { value: 1 })],
    ...[ok('A', { set: false }), read('B'), ok('B', { value: 1 })],
  ];
  const found = check(register(0), history);
  expect(found).toMatchObject({ prefixLength: 4, shortest: true, stuck: { client: 'B' } });
});

test('objects are checked apart, and the earliest that fails is told', () => {
  const on = (object: string, client: string, value: number): Register[] => [
    invoke(client, { object, op: 'read' }),
    ok(client, { value }),
  ];
  const history = [...on('x', 'A', 0), ...on('y', 'B', 0), ...on('y', 'A', 7), ...on('x', 'B', 9)];
  expect(check(register(0), history)).toMatchObject({ object: 'y', prefixLength: 6 });
  const good = check(register(0), history.slice(0, 4));
  expect(good.outcome === 'ok' && [...good.orders.keys()]).toEqual(['x', 'y']);
});

test('an empty history is linearizable', () => {
  expect(verdict([])).toBe('ok');
  expect(verdict([read('A'), fail('A')])).toBe('ok');
});

test('at its bound the search gives up, and says so', () => {
  const writes = Array.from({ length: 12 }, (_, i) => write(`W${i}`, i + 1));
  const history = [
    ...writes,
    read('A'),
    ok('A', { value: 99 }),
    ...writes.map((_, i) => ok(`W${i}`)),
  ];
  expect(check(register(0), history, { configurationsMax: 50 })).toMatchObject({
    outcome: 'gave-up',
  });
  expect(check(register(0), history).outcome).toBe('not-linearizable');
});

test('a history that no clients can have made is a bug of its recorder', () => {
  expect(() => operationsOf([read('A'), read('A')])).toThrow(/event 1: client A invokes while/);
  expect(() => operationsOf([ok('A')])).toThrow(/event 0: ok for client A, which invoked nothing/);
});

test('the picture shows who overlapped, what could not be placed, and in which state', () => {
  const history = [
    ...[write('W', 1), read('A'), ok('A', { value: 1 })],
    ...[read('B'), ok('B', { value: 0 }), ok('W')],
  ];
  const model = register(0);
  const found = check(model, history);
  if (found.outcome !== 'not-linearizable') throw new Error(found.outcome);
  expect(`\n${picture(model, found)}\n`).toBe(`
Not linearizable: B: read → 0 can't be placed.
The first 5 events are the shortest prefix that shows it.

  |────…  W: write 1 ?
   ||     A: read → 1
     ||   B: read → 0  ← can’t be placed

An order that explains everything before:
  W: write 1 ?; A: read → 1
  then the state is 1, and it refuses B: read → 0
`);
});
