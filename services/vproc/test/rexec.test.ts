// An exec on another node: same number, same streams, another program; and with a death at every point of
// the protocol. At no instant do the old and the new program run both, and in the end one does.
import assert from 'node:assert/strict';
import { vproc } from '@ssi/contracts';
import { describe, test } from 'vitest';
import { decidedPoints, type FailpointName, failpoints, rollbackPoints } from '../src/index.ts';
import { FakeCluster } from './fake-cluster.ts';

const points = (side: 'source' | 'target'): FailpointName[] =>
  failpoints.filter((p) => p.startsWith(`move.${side}.`));

const rexec = (c: FakeCluster, pid: number, argv: string[], uid = 0) =>
  c.client.call(vproc, 'rexec', 1, { pid, to: 2, argv, env: {}, uid }, { timeoutMs: 120_000 });

const commandAt = (c: FakeCluster, num: number, pid: number): string | undefined =>
  c.node(num).machine.processes.get(pid)?.command;

async function started(): Promise<{ c: FakeCluster; pid: number }> {
  const c = await new FakeCluster(3).start();
  const pid = await c.node(1).run(['old']);
  await c.clock.pass(100);
  c.clock.onStep = () => {
    const copies = c.machines().filter((m) => m.processes.has(pid)).length;
    if (copies > 1) assert.equal(c.copies(pid), 0, `one of ${copies} runs`);
  };
  return { c, pid };
}

/** Every line that the old program wrote, then every line of the new one, none twice. */
function assertBoth(text: string, pid: number): void {
  const numbers = text
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      assert(line.startsWith(`${pid} `), line);
      return Number(line.split(' ')[1]);
    });
  const second = numbers.indexOf(0, 1);
  assert(second > 5, `the old program wrote ${second} lines`);
  assert(numbers.length > second + 5, 'the new program writes on');
  numbers.forEach((n, i) => {
    assert.equal(n, i < second ? i : i - second);
  });
}

describe('vproc: rexec', () => {
  test('another program, same pid, the streams go on', async () => {
    const { c, pid } = await started();
    const reply = await c.clock.result(rexec(c, pid, ['new', 'arg']));
    assert.deepEqual(reply, { ok: true, value: { pid, node: 2 } });
    await c.clock.pass(200);
    assert.equal(commandAt(c, 2, pid), 'new arg');
    assert.equal(commandAt(c, 1, pid), undefined);
    assertBoth(c.node(2).machine.files.text(pid), pid);
    const where = await c.clock.result(c.client.call(vproc, 'where', 1, { pid }));
    assert(where.ok);
    assert.deepEqual([where.value.entry.node, where.value.entry.hop], [2, 1]);
    assert(c.node(1).machine.placeholders.has(pid), 'the number is held at home');
  });

  test('a program that is not there: ENOENT, and the old one runs on', async () => {
    const { c, pid } = await started();
    const reply = await c.clock.result(rexec(c, pid, ['missing']));
    assert(!reply.ok);
    assert.equal(reply.errno, 'ENOENT');
    await c.clock.pass(200);
    assert.equal(commandAt(c, 1, pid), 'old');
    assert.equal(c.copies(pid), 1);
    assert.equal(commandAt(c, 2, pid), undefined);
  });

  test('one with a child is refused, and so is one of another user', async () => {
    const { c, pid } = await started();
    const foreign = await c.clock.result(rexec(c, pid, ['new'], 1_000));
    assert(!foreign.ok && foreign.errno === 'EPERM');
    c.node(1).machine.fork(pid);
    const parent = await c.clock.result(rexec(c, pid, ['new']));
    assert(!parent.ok && parent.errno === 'EOPNOTSUPP' && /EPARENT/.test(parent.detail));
    assert.equal(commandAt(c, 1, pid), 'old');
  });

  for (const [at, list] of [
    [1, points('source')],
    [2, points('target')],
  ] as const)
    for (const dies of ['vproc', 'node'] as const)
      for (const point of list)
        test(`${dies} of node ${at} dies at ${point}`, async () => {
          const { c, pid } = await started();
          c.node(at).traps.set(point, dies);
          void rexec(c, pid, [rollbackPoints.includes(point) ? 'missing' : 'new']);
          await c.clock.until(() => c.node(at).reached.includes(point), 30_000);
          if (dies === 'node') await c.commit(at, 'DOWN');
          await c.clock.pass(20_000);
          const there =
            decidedPoints.includes(point) || (at === 1 && point === 'move.source.prepared');
          const running = c.up().filter((n) => n.machine.processes.has(pid));
          if (dies === 'node' && (at === 1) !== there) {
            assert.equal(running.length, 0, 'it ended with its node');
            return;
          }
          assert.equal(c.copies(pid), 1, 'one runs');
          assert.equal(running.length, 1, 'no stopped copy stays');
          const [home] = running;
          if (decidedPoints.includes(point))
            assert.equal(home?.num, 2, 'what is decided is finished');
          assert.equal(home?.machine.processes.get(pid)?.command, home?.num === 2 ? 'new' : 'old');
          for (const n of c.up()) assert.equal(n.machine.images.size, 0);
        });
});
