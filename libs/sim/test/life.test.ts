import assert from 'node:assert/strict';
import { test } from 'vitest';
import { Life, SimClock } from '../src/index.ts';

const port = () => {
  const calls: string[] = [];
  const heard: ((text: string) => void)[] = [];
  return {
    calls,
    heard,
    ask: async (text: string) => {
      calls.push(text);
      return `answer to ${text}`;
    },
    listen: (fn: (text: string) => void) => heard.push(fn),
    copy: () => ({
      done: Promise.resolve(1),
      chunks: (async function* () {
        yield 1;
        yield 2;
      })(),
    }),
  };
};

test('Life: timers and answers of a life that ended do not come', async () => {
  const world = new SimClock();
  const life = new Life({ name: 'n1.x', world, portDelayMs: () => 1 });
  const p = port();
  const mine = life.mortal(p);
  const got: string[] = [];
  life.clock.after(10, () => got.push('timer'));
  void mine.ask('early').then((a) => got.push(a));
  mine.listen((text) => got.push(text));
  await world.run(5);
  p.heard[0]?.('heard');
  void mine.ask('late').then((a) => got.push(a));
  life.end();
  p.heard[0]?.('not heard');
  void mine.ask('after death').then((a) => got.push(a));
  await world.run(50);
  assert.deepEqual(got, ['answer to early', 'heard']);
  assert.deepEqual(p.calls, ['early', 'late']);
});

test('Life: paused, everything waits; resumed, it comes in order', async () => {
  const world = new SimClock();
  const life = new Life({ name: 'n1.x', world });
  const got: string[] = [];
  life.clock.after(1, () => got.push('a'));
  life.clock.after(2, () => got.push('b'));
  const cancelled = life.clock.after(2, () => got.push('cancelled'));
  life.pause();
  await world.run(10);
  assert.deepEqual(got, []);
  cancelled.cancel();
  life.resume();
  await world.run(11);
  assert.deepEqual(got, ['a', 'b']);
});

test('Life: can be ended right before or right after a call of a port takes effect', async () => {
  for (const when of ['before', 'after'] as const) {
    const world = new SimClock();
    const life = new Life({
      name: 'n1.x',
      world,
      onPortCall: (_, method) => (method === 'ask' ? when : undefined),
    });
    const p = port();
    let answered = false;
    void life
      .mortal(p)
      .ask('x')
      .then(() => {
        answered = true;
      });
    await world.run(1);
    assert.equal(life.alive, false);
    assert.equal(answered, false);
    assert.deepEqual(p.calls, when === 'after' ? ['x'] : []);
  }
});

test('Life: promises and items inside an answer end with the life too', async () => {
  const world = new SimClock();
  const life = new Life({ name: 'n1.x', world });
  const items: number[] = [];
  const copy = life.mortal(port()).copy();
  void (async () => {
    for await (const item of copy.chunks) {
      items.push(item);
      life.end();
    }
    items.push(-1);
  })();
  await world.run(1);
  assert.deepEqual(items, [1]);
});

test('Life: a clock that runs fast fires earlier in the world', async () => {
  const world = new SimClock();
  const life = new Life({ name: 'n1.x', world, shape: { offsetMs: 1_000, rate: 1.01 } });
  let atMs = 0;
  life.clock.after(101, () => {
    atMs = world.nowMs();
  });
  await world.run(200);
  assert.equal(Math.round(atMs), 100);
  assert.equal(Math.round(life.clock.nowMs()), 1_202);
});
