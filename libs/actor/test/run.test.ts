// The runner's promises: order, time, snapshots, and what happens when a machine is wrong.
import { type Log, noLog } from '@ssi/ports';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assign, createMachine, raise, setup } from 'xstate';
import { assertJson, type Effect, type MachineSnapshotJson, runMachine } from '../src/index.ts';
import { manualClock } from './manual-clock.ts';

type Event = { type: 'start' } | { type: 'add'; n: number } | { type: 'boom' } | { type: 'stop' };

const counter = setup({
  types: {
    context: {} as { n: number; limit: number },
    events: {} as Event,
    input: {} as { limit: number },
  },
  actions: { announce: (_, _params: { n: number }) => {}, bell: () => {} },
  guards: {
    sound: ({ event }) => {
      if (event.type === 'boom') throw new Error('guard broke');
      return true;
    },
  },
  delays: { GRACE: 1_000 },
}).createMachine({
  context: ({ input }) => ({ n: 0, limit: input.limit }),
  initial: 'idle',
  states: {
    idle: { on: { start: 'busy' } },
    busy: {
      entry: { type: 'announce', params: ({ context }) => ({ n: context.n }) },
      after: { GRACE: { target: 'late', actions: 'bell' } },
      on: {
        add: {
          actions: [
            assign({ n: ({ context, event }) => context.n + event.n }),
            { type: 'announce', params: ({ context }) => ({ n: context.n }) },
          ],
        },
        boom: { guard: 'sound', target: 'late' },
        stop: 'idle',
      },
    },
    late: {},
  },
});

function recording(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const log: Log = {
    ...noLog,
    warn: (text) => lines.push(text),
    error: (text) => lines.push(text),
    with: () => log,
  };
  return { log, lines };
}

function start(options: { snapshot?: MachineSnapshotJson; inboxMax?: number } = {}) {
  const clock = manualClock();
  const effects: Effect[] = [];
  const { log, lines } = recording();
  const machine = runMachine({
    machine: counter,
    input: { limit: 3 },
    clock,
    log,
    perform: (e) => effects.push(e),
    ...options,
  });
  return { machine, clock, effects, lines };
}

describe('actor: runMachine', () => {
  test('effects are performed in order after the step, with their params', () => {
    const { machine, effects } = start();
    machine.send({ type: 'start' });
    machine.send({ type: 'add', n: 2 });
    expect(effects).toEqual([
      { type: 'announce', params: { n: 0 } },
      { type: 'announce', params: { n: 2 } },
    ]);
    expect(machine.state().context.n).toBe(2);
    assertJson(machine.state().context);
  });

  test('what an effect sends runs after the effects of its own step', () => {
    const clock = manualClock();
    const seen: string[] = [];
    const machine = runMachine<typeof counter, Effect>({
      machine: counter,
      input: { limit: 1 },
      clock,
      log: noLog,
      perform: (e, send) => {
        seen.push(`${e.type} ${JSON.stringify(e.params)}`);
        if (seen.length === 1) send({ type: 'add', n: 5 });
      },
    });
    machine.send({ type: 'start' });
    expect(seen).toEqual(['announce {"n":0}', 'announce {"n":5}']);
  });

  test('a delayed transition fires on the clock, once, and not after its state was left', () => {
    const a = start();
    a.machine.send({ type: 'start' });
    a.clock.advance(999);
    expect(a.machine.state().value).toBe('busy');
    a.clock.advance(1);
    expect(a.machine.state().value).toBe('late');
    expect(a.effects.at(-1)?.type).toBe('bell');

    const b = start();
    b.machine.send({ type: 'start' });
    b.clock.advance(500);
    b.machine.send({ type: 'stop' });
    b.machine.send({ type: 'start' });
    b.clock.advance(999);
    expect(b.machine.state().value).toBe('busy');
    b.clock.advance(1);
    expect(b.machine.state().value).toBe('late');
  });

  test('a restored machine waits the time that remained, not the whole delay', () => {
    const first = start();
    first.machine.send({ type: 'start' });
    first.clock.advance(700);
    const snapshot = JSON.parse(JSON.stringify(first.machine.snapshot())) as MachineSnapshotJson;
    first.machine.stop();
    const second = start({ snapshot });
    expect(second.effects).toEqual([]);
    second.clock.advance(299);
    expect(second.machine.state().value).toBe('busy');
    second.clock.advance(1);
    expect(second.machine.state().value).toBe('late');
  });

  test('a throwing guard drops the step and the machine goes on', () => {
    const { machine, lines } = start();
    machine.send({ type: 'start' });
    machine.send({ type: 'boom' });
    expect(lines).toEqual(['step dropped: guard or action threw']);
    machine.send({ type: 'add', n: 1 });
    expect(machine.state().context.n).toBe(1);
  });

  test('with persist, a throwing action that spoiled its context restarts from the last snapshot', () => {
    const spoiler = setup({
      types: { context: {} as { list: number[] }, events: {} as { type: 'spoil' | 'add' } },
    }).createMachine({
      context: () => ({ list: [] as number[] }),
      on: {
        add: { actions: assign({ list: ({ context }) => [...context.list, 1] }) },
        spoil: {
          actions: assign(({ context }) => {
            context.list.push(666);
            throw new Error('half done');
          }),
        },
      },
    });
    const saved: MachineSnapshotJson[] = [];
    const machine = runMachine({
      machine: spoiler,
      input: undefined,
      clock: manualClock(),
      log: noLog,
      perform: () => {},
      persist: (s) => saved.push(structuredClone(s)),
    });
    machine.send({ type: 'add' });
    machine.send({ type: 'spoil' });
    expect(machine.state().context).toEqual({ list: [1] });
    expect(saved).toHaveLength(2);
  });

  test('an unknown event is reported, not dropped in silence', () => {
    const { machine, lines } = start();
    machine.send({ type: 'add', n: 1 });
    expect(lines).toEqual(['event not known in this state']);
  });

  test('an effect that throws does not stop the effects after it', () => {
    const seen: string[] = [];
    const { log, lines } = recording();
    const machine = runMachine({
      machine: counter,
      input: { limit: 1 },
      clock: manualClock(),
      log,
      perform: (e) => {
        seen.push(e.type);
        throw new Error('no');
      },
    });
    machine.send({ type: 'start' });
    machine.send({ type: 'add', n: 1 });
    expect(seen).toEqual(['announce', 'announce']);
    expect(lines).toEqual(['effect failed', 'effect failed']);
  });

  test('a full inbox refuses; a stopped machine refuses and its timers are gone', () => {
    const clock = manualClock();
    const taken: boolean[] = [];
    const machine = runMachine<typeof counter, Effect>({
      machine: counter,
      input: { limit: 1 },
      clock,
      log: noLog,
      inboxMax: 2,
      perform: (_, send) => {
        if (taken.length === 0) for (let i = 0; i < 3; i++) taken.push(send({ type: 'add', n: 1 }));
      },
    });
    machine.send({ type: 'start' });
    expect(taken).toEqual([true, true, false]);
    machine.stop();
    expect(machine.send({ type: 'stop' })).toBe(false);
    clock.advance(5_000);
    expect(machine.state().value).toBe('busy');
  });

  test('a machine that invokes is refused', () => {
    const invoking = createMachine({ invoke: { src: 'x' } });
    expect(() =>
      runMachine({
        machine: invoking,
        input: undefined,
        clock: manualClock(),
        log: noLog,
        perform: () => {},
      }),
    ).toThrow(/flat/);
  });

  test('raise within a step happens inside it', () => {
    const m = setup({ types: { events: {} as { type: 'a' | 'b' } } }).createMachine({
      initial: 'x',
      states: { x: { on: { a: { actions: raise({ type: 'b' }) }, b: 'y' } }, y: {} },
    });
    const machine = runMachine({
      machine: m,
      input: undefined,
      clock: manualClock(),
      log: noLog,
      perform: () => {},
    });
    machine.send({ type: 'a' });
    expect(machine.state().value).toBe('y');
  });

  test('the same events at the same times give the same effects, also across a snapshot (property)', () => {
    const event = fc.oneof(
      fc.constant({ type: 'start' } as const),
      fc.constant({ type: 'stop' } as const),
      fc.record({ type: fc.constant('add' as const), n: fc.integer({ min: 0, max: 9 }) }),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(event, fc.integer({ min: 0, max: 700 }))),
        fc.nat(),
        (script, cut) => {
          const plain = start();
          let split = start();
          const splitEffects: Effect[] = [];
          for (const [i, [e, wait]] of script.entries()) {
            if (i === cut % (script.length + 1)) {
              const snapshot = JSON.parse(JSON.stringify(split.machine.snapshot()));
              splitEffects.push(...split.effects);
              split = start({ snapshot });
            }
            plain.machine.send(e);
            split.machine.send(e);
            plain.clock.advance(wait);
            split.clock.advance(wait);
          }
          expect([...splitEffects, ...split.effects]).toEqual(plain.effects);
          expect(split.machine.state().value).toEqual(plain.machine.state().value);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('actor: assertJson', () => {
  test('names what is not JSON', () => {
    expect(() => assertJson({ a: [{ b: new Map() }] })).toThrow('context.a[0].b is a Map');
    expect(() => assertJson({ a: Number.NaN })).toThrow('context.a is NaN');
    expect(() => assertJson({ a: () => 1 })).toThrow('context.a is a function');
    assertJson({ a: [1, 'x', null, { b: true }], c: undefined });
  });
});
