// On random histories the checker and the definition agree; what a linearizable object does is accepted.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  check,
  type HistoryEvent,
  type LockInput,
  type LockOutput,
  type LockState,
  lock,
  type Model,
  operationsOf,
  type RegisterInput,
  type RegisterOutput,
  register,
} from '../src/index.ts';
import { bruteForce } from './brute-force.ts';
import { mostlyHeard, mostlyLost, run, type Sizes, scriptOf } from './simulated-object.ts';

const value = fc.nat({ max: 2 });
const registerInput: fc.Arbitrary<RegisterInput<number>> = fc.oneof(
  fc.constant({ op: 'read' as const }),
  fc.record({ op: fc.constant('write' as const), value }),
  fc.record({ op: fc.constant('cas' as const), expected: value, value }),
);
const execute = (held: number, input: RegisterInput<number>): RegisterOutput<number> => {
  if (input.op === 'read') return { value: held };
  return input.op === 'cas' ? { set: held === input.expected } : {};
};
const history = (sizes: Sizes) =>
  scriptOf(registerInput, sizes).map((script) => run(register(0), execute, script));

/** One answer changed, or two neighbouring events of different clients exchanged. */
const mutated = (sizes: Sizes) =>
  fc.tuple(history(sizes), fc.nat(), fc.boolean(), value).map(([good, where, swap, other]) => {
    const bad = [...good];
    const at = where % Math.max(1, bad.length);
    const [event, next] = [bad[at], bad[at + 1]];
    if (swap && event && next && event.client !== next.client) {
      bad[at] = next;
      bad[at + 1] = event;
    } else if (event?.type === 'ok') {
      const { output } = event;
      const wrong = output.set === undefined ? { value: other } : { set: !output.set };
      bad[at] = { ...event, output: wrong };
    }
    return bad;
  });

/** The order that an acceptance tells must itself be legal: the checker is not believed. */
function expectLegal<S, I, O>(model: Model<S, I, O>, events: readonly HistoryEvent<I, O>[]) {
  const found = check(model, events);
  if (found.outcome !== 'ok') throw new Error(found.outcome);
  const order = [...found.orders.values()].flat();
  let state: S | undefined = model.init;
  order.forEach((operation, i) => {
    if (state !== undefined) state = model.step(state, operation.input, operation.output);
    expect(state).toBeDefined();
    for (const later of order.slice(i))
      expect(later.returnedAt).toBeGreaterThan(operation.invokedAt);
  });
  expect(new Set(order).size).toBe(order.length);
  const returned = operationsOf(events).filter(({ outcome }) => outcome === 'ok');
  expect(order.filter(({ outcome }) => outcome === 'ok').length).toBe(returned.length);
}

test('what a linearizable register does is accepted, with an order that is legal', () => {
  fc.assert(
    fc.property(history({ clients: 4, calls: 40, fates: mostlyHeard }), (events) =>
      expectLegal(register(0), events),
    ),
    { numRuns: 300 },
  );
});

test.for([
  { fates: mostlyHeard, name: 'most answers heard' },
  { fates: mostlyLost, name: 'most answers lost' },
])('small histories, good and mutated, $name: the verdict is the definition’s', ({ fates }) => {
  const refused = { count: 0 };
  fc.assert(
    fc.property(mutated({ clients: 3, calls: 8, fates }), (events) => {
      const linearizable = bruteForce(register(0), events);
      if (!linearizable) refused.count += 1;
      expect(check(register(0), events).outcome).toBe(linearizable ? 'ok' : 'not-linearizable');
    }),
    { numRuns: 3_000 },
  );
  // The comparison is worth nothing if mutations do no harm.
  expect(refused.count).toBeGreaterThan(60);
});

test('the prefix is the shortest: by the definition it is refused, and the one shorter is not', () => {
  let refused = 0;
  fc.assert(
    fc.property(mutated({ clients: 3, calls: 7, fates: mostlyHeard }), (events) => {
      const found = check(register(0), events);
      if (found.outcome !== 'not-linearizable') return;
      refused += 1;
      expect(found.shortest).toBe(true);
      expect(bruteForce(register(0), events.slice(0, found.prefixLength))).toBe(false);
      expect(bruteForce(register(0), events.slice(0, found.prefixLength - 1))).toBe(true);
    }),
    { numRuns: 2_000 },
  );
  expect(refused).toBeGreaterThan(200);
});

const owner = fc.constantFrom('a', 'b', 'c');
const mode = fc.constantFrom('NL', 'CR', 'CW', 'PR', 'PW', 'EX').map((m) => m as 'NL');
const written = fc.option(fc.constantFrom('x', 'y'), { nil: undefined });
const lockInput: fc.Arbitrary<LockInput> = fc.oneof(
  fc.record({ op: fc.constant('lock' as const), owner, mode }),
  fc
    .record({ op: fc.constant('convert' as const), owner, mode, written })
    .map(({ written: v, ...rest }) => ({ ...rest, ...(v && { value: v }) })),
  fc
    .record({ op: fc.constant('unlock' as const), owner, written })
    .map(({ written: v, ...rest }) => ({ ...rest, ...(v && { value: v }) })),
  fc.record({ op: fc.constant('die' as const), owner }),
);

/** Grants what the model allows, with the next token, and tells the value block. */
function grant(model: Model<LockState, LockInput, LockOutput>) {
  return (state: LockState, input: LockInput): LockOutput | undefined => {
    if (model.step(state, input, undefined) === undefined) return undefined;
    if (input.op !== 'lock') return {};
    return { token: state.token + 1n, value: state.value, valid: state.valid };
  };
}

test('what a linearizable lock does is accepted', () => {
  const model = lock('v');
  const script = scriptOf(lockInput, { clients: 3, calls: 30, fates: mostlyHeard });
  fc.assert(
    fc.property(script, (calls) => expectLegal(model, run(model, grant(model), calls))),
    { numRuns: 300 },
  );
});

test('small lock histories with a wrong token, value or moment: the verdict is the definition’s', () => {
  const model = lock('v');
  const script = scriptOf(lockInput, { clients: 3, calls: 6, fates: mostlyHeard });
  let refused = 0;
  fc.assert(
    fc.property(script, fc.nat(), fc.nat({ max: 3 }), (calls, where, how) => {
      const events = run(model, grant(model), calls);
      const grants = events.flatMap((e, i) => (e.type === 'ok' && e.output.token ? [i] : []));
      const at = grants[where % Math.max(1, grants.length)];
      const event = at === undefined ? undefined : events[at];
      if (at !== undefined && event?.type === 'ok') {
        const { token, value: told, valid } = event.output;
        const wrong = [
          { token: (token ?? 0n) - 1n },
          { value: told === 'x' ? 'y' : 'x' },
          { valid: !valid },
          { token: 1n },
        ][how];
        events[at] = { ...event, output: { ...event.output, ...wrong } };
      }
      const linearizable = bruteForce(model, events);
      if (!linearizable) refused += 1;
      expect(check(model, events).outcome).toBe(linearizable ? 'ok' : 'not-linearizable');
    }),
    { numRuns: 2_000 },
  );
  expect(refused).toBeGreaterThan(200);
});
