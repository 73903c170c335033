// A child that moves while its parent stays: its stub ends as it ends, signals to the stub reach it, and no
// death of vproc or of a node in between makes the stub a second copy or leaves the parent waiting.
import assert from 'node:assert/strict';
import { vproc } from '@ssi/contracts';
import { describe, test } from 'vitest';
import { type FailpointName, failpoints } from '../src/index.ts';
import { FakeCluster } from './fake-cluster.ts';

async function family() {
  const c = await new FakeCluster(3).start();
  const parent = await c.node(1).run();
  const child = c.node(1).machine.fork(parent);
  assert(child);
  child.owner = 0;
  await c.clock.pass(150);
  c.clock.onStep = () => {
    const real = c.machines().filter((m) => {
      const p = m.processes.get(child.pid);
      return p && !p.stub;
    });
    if (real.length > 1) assert.equal(c.copies(child.pid), 0, `one of ${real.length} runs`);
  };
  return { c, parent, pid: child.pid };
}
const move = async (c: FakeCluster, from: number, pid: number, to: number) => {
  const reply = await c.clock.result(c.node(from).migrate(pid, to));
  await c.clock.pass(200);
  return reply;
};
const stubAt = (c: FakeCluster, pid: number) => c.node(1).machine.processes.get(pid);
const waited = (c: FakeCluster, pid: number) =>
  c
    .node(1)
    .machine.waited.filter((w) => w.pid === pid)
    .map((w) => [w.code, w.signal]);
const list = async (c: FakeCluster, num: number): Promise<number[]> => {
  const reply = await c.clock.result(c.client.call(vproc, 'list', num, {}));
  assert(reply.ok);
  return reply.value.processes.map((p) => p.pid);
};

describe('vproc: a child moves, its parent stays', () => {
  test('the stub is no process of the table, and ends with the code that the child ended with', async () => {
    const { c, parent, pid } = await family();
    assert((await move(c, 1, pid, 2)).ok);
    assert.equal(stubAt(c, pid)?.ppid, parent);
    assert(stubAt(c, pid)?.stub);
    assert.deepEqual(await list(c, 1), [parent]);
    assert.deepEqual(await list(c, 2), [pid]);
    assert(!c.node(1).machine.placeholders.has(pid));
    assert((await move(c, 2, pid, 3)).ok, 'it moves on');
    const home = await move(c, 3, pid, 1);
    assert(!home.ok && /EPARENT/.test(home.detail), JSON.stringify(home));
    c.node(3).machine.exit(pid, 42);
    await c.clock.pass(1_000);
    assert.deepEqual(waited(c, pid), [[42, null]]);
    assert.equal(c.node(1).machine.stubs.size, 0);
    const again = await c.clock.result(
      c.client.call(vproc, 'wait', 1, { pid, reap: true, noHang: true }),
    );
    assert(!again.ok, 'its parent has taken the status');
  });

  test('signals to the stub reach the child; SIGKILL kills both', async () => {
    const { c, pid } = await family();
    await move(c, 1, pid, 2);
    c.node(1).machine.signal(pid, 28);
    await c.clock.pass(300);
    assert.deepEqual(
      c.node(2).machine.signals.filter((s) => s.pid === pid),
      [{ pid, signal: 28 }],
    );
    c.node(1).machine.signal(pid, 19);
    await c.clock.pass(300);
    assert.equal(c.node(2).machine.processes.get(pid)?.state, 'stopped');
    c.node(1).machine.signal(pid, 18);
    await c.clock.pass(300);
    assert.equal(c.node(2).machine.processes.get(pid)?.state, 'running');
    c.node(1).machine.signal(pid, 9);
    await c.clock.pass(1_000);
    assert(!c.node(2).machine.processes.has(pid));
  });

  test("the child's node dies: its parent sees SIGKILL", async () => {
    const { c, pid } = await family();
    await move(c, 1, pid, 2);
    await c.kill(2);
    await c.clock.pass(2_000);
    assert.deepEqual(waited(c, pid), [[null, 'SIGKILL']]);
  });

  test('the parent ends: the stub goes, the child runs on', async () => {
    const { c, parent, pid } = await family();
    await move(c, 1, pid, 2);
    c.node(1).machine.exit(parent, 0);
    await c.clock.pass(1_000);
    assert.equal(stubAt(c, pid), undefined);
    assert.equal(c.copies(pid), 1);
    assert(c.node(1).machine.placeholders.has(pid), 'its number is held at home now');
    assert((await move(c, 2, pid, 1)).ok, 'and it may come home');
  });

  for (const point of failpoints.filter((p): p is FailpointName => p.startsWith('move.source.')))
    test(`vproc dies at ${point}, and again later: the parent hears of the end`, async () => {
      const { c, pid } = await family();
      c.node(1).traps.set(point, 'vproc');
      if (/aborting|rollback/.test(point)) c.node(2).machine.failing.set('criu.restore', 1);
      void c.node(1).migrate(pid, 2, 60_000);
      await c.clock.until(() => c.node(1).reached.includes(point), 30_000);
      await c.clock.pass(10_000);
      assert.equal(c.copies(pid), 1);
      const there = c.node(2).machine.processes.has(pid);
      assert.equal(stubAt(c, pid)?.stub !== undefined, there, 'a stub only where it went');
      c.node(1).crash();
      c.node(1).boot();
      await c.clock.result(c.node(1).started);
      assert.deepEqual((await list(c, 1)).includes(pid), !there);
      c.node(there ? 2 : 1).machine.exit(pid, 7);
      await c.clock.pass(3_000);
      assert.deepEqual(waited(c, pid), [[7, null]]);
    });
});
