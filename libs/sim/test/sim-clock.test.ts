import assert from 'node:assert/strict';
import { test } from 'vitest';
import { Journal, SimClock, simRandom } from '../src/index.ts';

test('SimClock: events run by time, equal times in the order they were made, cancelled ones not', async () => {
  const clock = new SimClock();
  const ran: string[] = [];
  clock.after(5, () => ran.push(`b@${clock.nowMs()}`));
  clock.after(2, () => ran.push(`a@${clock.nowMs()}`));
  clock.after(5, () => ran.push(`c@${clock.nowMs()}`));
  clock.after(3, () => ran.push('cancelled')).cancel();
  clock.after(100, () => ran.push('too late'));
  await clock.run(50);
  assert.deepEqual(ran, ['a@2', 'b@5', 'c@5']);
  assert.equal(clock.nowMs(), 50);
  assert.equal(clock.events, 3);
});

test('SimClock: promises that an event set going are through before time goes on', async () => {
  const clock = new SimClock();
  const ran: string[] = [];
  clock.after(1, () => {
    void (async () => {
      for (let i = 0; i < 50; i++) await Promise.resolve();
      ran.push(`chain@${clock.nowMs()}`);
    })();
  });
  clock.after(1, () => ran.push('next'));
  await clock.run(10);
  assert.deepEqual(ran, ['chain@1', 'next']);
});

test('SimClock: what an event or a check throws ends the run', async () => {
  const clock = new SimClock();
  clock.after(1, () => {
    throw new Error('bug');
  });
  await assert.rejects(clock.run(10), /bug/);
  const checked = new SimClock();
  checked.after(1, () => {});
  checked.afterEach = () => {
    if (checked.nowMs() === 1) throw new Error('invariant');
  };
  await assert.rejects(checked.run(10), /invariant/);
});

test('SimRandom: a seed and a name give the same stream, other names others', () => {
  const draw = (seed: number, name: string): string => simRandom(seed, name).hex(16);
  assert.equal(draw(7, 'net'), draw(7, 'net'));
  assert.equal(new Set([draw(7, 'net'), draw(7, 'faults'), draw(8, 'net')]).size, 3);
  const r = simRandom(1, 'spread');
  let sum = 0;
  for (let i = 0; i < 10_000; i++) sum += r.float();
  assert.ok(Math.abs(sum / 10_000 - 0.5) < 0.02);
});

test('Journal: the hash is of events alone, not of what is kept or of detail', () => {
  const clock = new SimClock();
  const [short, full] = [false, true].map((trace) => new Journal({ clock, trace }));
  for (const j of [short, full]) {
    j?.event('n1', 'started', { bootCount: 1 });
    j?.detail('n1', 'a frame');
  }
  assert.equal(short?.hash(), full?.hash());
  assert.equal(short?.lines().length, 1);
  assert.equal(full?.lines().length, 2);
  short?.event('n1', 'ended');
  assert.notEqual(short?.hash(), full?.hash());
});
