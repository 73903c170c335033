// A move with a death at every phase boundary: of the source's or the target's vproc, which starts again,
// or of a whole node. At no instant do two copies run, and in the end one does, unless its node died.
import assert from 'node:assert/strict';
import { originOfRange, vproc } from '@ssi/contracts';
import { describe, test } from 'vitest';
import { decidedPoints, type FailpointName, failpoints, rollbackPoints } from '../src/index.ts';
import { FakeCluster } from './fake-cluster.ts';
import { assertLines } from './lines.ts';

const sourcePoints = failpoints.filter((p) => p.startsWith('move.source.'));
const targetPoints = failpoints.filter((p) => p.startsWith('move.target.'));

/** At every instant: a copy runs only while it is the only one there is, stopped ones included. */
function assertOne(c: FakeCluster, pid: number): void {
  const copies = c.machines().filter((m) => m.processes.has(pid)).length;
  if (copies > 1) assert.equal(c.copies(pid), 0, `one of ${copies} runs at ${c.clock.nowMs()}`);
}

interface Outcome {
  readonly c: FakeCluster;
  readonly pid: number;
}

/** Runs a move from 1 to 2 with a trap, and lets everything come to rest. */
async function moveWith(q: {
  at: 1 | 2;
  point: FailpointName;
  dies: 'vproc' | 'node';
}): Promise<Outcome> {
  const c = await new FakeCluster(3).start();
  const pid = await c.node(1).run();
  await c.clock.pass(100);
  c.clock.onStep = () => assertOne(c, pid);
  c.node(q.at).traps.set(q.point, q.dies);
  if (rollbackPoints.includes(q.point)) c.node(2).machine.failing.set('criu.restore', 1);
  const moving = c.node(1).migrate(pid, 2, 120_000);
  void moving;
  await c.clock.until(
    () => c.node(q.at).reached.includes(q.point),
    30_000,
    () => `${q.point} not reached: ${c.node(1).reached.join()} ${c.node(2).reached.join()}`,
  );
  if (q.dies === 'node') await c.commit(q.at, 'DOWN');
  await c.clock.pass(20_000);
  return { c, pid };
}

async function assertWhole({ c, pid }: Outcome, node: number): Promise<void> {
  assert.equal(c.copies(pid), 1, 'one copy runs');
  assert(c.node(node).machine.processes.has(pid), `it is on node ${node}`);
  const before = assertLines(c.node(node).machine.files.text(pid), pid);
  await c.clock.pass(500);
  assert(assertLines(c.node(node).machine.files.text(pid), pid) > before, 'it writes on');
  await assertFound(c, pid, node);
  for (const n of c.up()) {
    const restored = [...n.machine.processes.keys()].filter((p) => p === pid);
    assert.equal(restored.length, n.num === node ? 1 : 0, `no stopped copy on ${n.num}`);
    assert.equal(n.machine.images.size, 0, `no images on node ${n.num}`);
    assert(![...n.machine.records.values()].some((r) => r.includes('"side":"source"')));
  }
}

async function assertFound(c: FakeCluster, pid: number, node: number): Promise<void> {
  const origin = originOfRange(c.view, 1) ?? 0;
  const where = await c.clock.result(c.client.call(vproc, 'where', origin, { pid }));
  assert(where.ok, JSON.stringify(where));
  assert.equal(where.value.entry.node, node);
  assert.equal(where.value.entry.phase, 'live');
  const held = c.node(1).machine.placeholders.has(pid);
  if (!c.node(1).machine.dead) assert.equal(held, node !== 1, 'the number is held at home');
}

describe('vproc: move: vproc killed and started again', () => {
  for (const [at, points] of [
    [1, sourcePoints],
    [2, targetPoints],
  ] as const)
    for (const point of points)
      test(`node ${at} at ${point}: one copy, no line lost`, async () => {
        const outcome = await moveWith({ at, point, dies: 'vproc' });
        const node = outcome.c.node(2).machine.processes.has(outcome.pid) ? 2 : 1;
        if (decidedPoints.includes(point)) assert.equal(node, 2, 'a decided move is finished');
        await assertWhole(outcome, node);
      });
});

describe('vproc: move: the target dies', () => {
  for (const point of targetPoints)
    test(`at ${point}`, async () => {
      const { c, pid } = await moveWith({ at: 2, point, dies: 'node' });
      if (!decidedPoints.includes(point)) return assertWhole({ c, pid }, 1);
      // The source's copy was killed before: it ended with the node it was on.
      assert.equal(c.copies(pid), 0);
      const status = await c.clock.result(c.client.call(vproc, 'wait', 1, { pid, reap: true }));
      assert(status.ok, JSON.stringify(status));
      assert.deepEqual([status.value.signal, status.value.reason], ['SIGKILL', 'EHOSTDOWN']);
    });
});

describe('vproc: move: the source dies', () => {
  /** From here the target has a whole copy, or everything to make one. */
  const saved: readonly FailpointName[] = ['move.source.prepared', ...decidedPoints];
  for (const point of sourcePoints)
    test(`at ${point}`, async () => {
      const { c, pid } = await moveWith({ at: 1, point, dies: 'node' });
      if (saved.includes(point)) return assertWhole({ c, pid }, 2);
      assert.equal(c.copies(pid), 0);
      for (const n of c.up()) assert.equal(n.machine.images.size, 0, `images on node ${n.num}`);
      assert(!c.node(2).machine.processes.has(pid), 'no stopped copy stays');
    });
});

describe('vproc: move: the two sides lose each other', () => {
  test('in doubt and alone nobody runs; when they meet again one copy does', async () => {
    const c = await new FakeCluster(3).start();
    const pid = await c.node(1).run();
    await c.clock.pass(100);
    c.clock.onStep = () => assertOne(c, pid);
    void c.node(1).migrate(pid, 2, 600_000);
    await c.clock.until(() => c.node(2).reached.includes('move.target.restoring'), 5_000);
    c.net.cut.add('1-2');
    await c.clock.pass(90_000);
    assert.equal(c.copies(pid), 0, 'neither side can know what the other does');
    c.net.cut.clear();
    await c.clock.pass(20_000);
    await assertWhole({ c, pid }, 1);
  });

  test('the view decides: the target is DOWN, the source runs on', async () => {
    const c = await new FakeCluster(3).start();
    const pid = await c.node(1).run();
    await c.clock.pass(100);
    void c.node(1).migrate(pid, 2, 600_000);
    await c.clock.until(() => c.node(2).reached.includes('move.target.restoring'), 5_000);
    c.net.cut.add('1-2');
    await c.clock.pass(90_000);
    assert.equal(c.copies(pid), 0);
    await c.kill(2);
    await c.clock.pass(5_000);
    await assertWhole({ c, pid }, 1);
  });
});
