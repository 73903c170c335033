// vproc wired to memory twins: three nodes, a virtual clock. What a process writes is checked line by
// line, and copies are counted on the machines, not in the tables.
import assert from 'node:assert/strict';
import { originOf, vproc } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { describe, test } from 'vitest';
import { FakeCluster } from './fake-cluster.ts';
import { assertLines } from './lines.ts';

const started = (): Promise<FakeCluster> => new FakeCluster(3).start();
const outOf = (c: FakeCluster, node: number, pid: number): string =>
  c.node(node).machine.files.text(pid);

describe('vproc: a process from start to end', () => {
  test('run gives a pid of the node’s range that list, where and wait know', async () => {
    const c = await started();
    const pid = await c.node(2).run();
    assert.equal(Math.floor(pid / 65_536), 2);
    const where = await c.clock.result(c.client.call(vproc, 'where', 2, { pid }));
    assert(where.ok);
    assert.equal(where.value.entry.node, 2);
    const list = await c.clock.result(c.client.call(vproc, 'list', 2, {}));
    assert(list.ok);
    assert.deepEqual(
      list.value.processes.map((p) => p.pid),
      [pid],
    );
    const wait = c.client.call(vproc, 'wait', 2, { pid, reap: true });
    await c.clock.pass(50);
    c.node(2).machine.exit(pid, 3);
    const status = await c.clock.result(wait);
    assert(status.ok);
    assert.equal(status.value.code, 3);
    const again = await c.clock.result(c.client.call(vproc, 'wait', 2, { pid, reap: true }));
    assert(!again.ok && again.errno === 'ECHILD');
  });

  test('a program that ends at once still has a status to wait for', async () => {
    const c = await started();
    const pid = await c.node(1).run(['true']);
    const status = await c.clock.result(c.client.call(vproc, 'wait', 1, { pid, reap: false }));
    assert(status.ok && status.value.code === 0);
  });

  test('one that ends while its start is written down has ended, also for who is origin next', async () => {
    const c = await started();
    const { machine, ports } = c.node(1);
    const write = ports.state.write.bind(ports.state);
    ports.state.write = async (key, record) => {
      const done = await write(key, record);
      const { pid, intended } = record as { pid: number; intended?: boolean };
      if (intended || !machine.processes.has(pid)) return done;
      machine.exit(pid, 3);
      await sleep(c.clock, 5);
      return done;
    };
    const pid = await c.node(1).run();
    await c.clock.pass(100);
    await c.kill(1);
    const next = originOf(c.view, pid);
    assert(next !== undefined && next !== 1);
    const status = await c.clock.result(c.client.call(vproc, 'wait', next, { pid, reap: true }));
    assert(status.ok && status.value.code === 3, JSON.stringify(status));
  });

  test('ENOENT: no such program; nothing is left of its number or streams', async () => {
    const c = await started();
    const reply = await c.clock.result(
      c.client.call(vproc, 'run', 1, { argv: ['missing'], env: {}, cwd: '/', uid: 0, gid: 0 }),
    );
    assert(!reply.ok && reply.errno === 'ENOENT');
    assert.equal(c.node(1).machine.placeholders.size, 0);
    assert.equal(c.node(1).machine.files.owners.size, 0);
  });

  test('EREMCHG: asked of a node that is not the origin, naming the one that is', async () => {
    const c = await started();
    const pid = await c.node(2).run();
    const reply = await c.clock.result(c.client.call(vproc, 'where', 1, { pid }));
    assert(!reply.ok && reply.errno === 'EREMCHG' && reply.node === 2);
  });
});

describe('vproc: migrate', () => {
  test('a process moves with its pid, its output and its number held at home', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    await c.clock.pass(200);
    const moved = await c.clock.result(c.node(1).migrate(pid, 2));
    assert(moved.ok, JSON.stringify(moved));
    assert(moved.value.freezeMs > 0 && moved.value.freezeMs < 100, `${moved.value.freezeMs}`);
    assert.equal(c.copies(pid), 1);
    assert(!c.node(1).machine.processes.has(pid));
    await c.clock.pass(200);
    assert(assertLines(outOf(c, 2, pid), pid) > 20);
    const where = await c.clock.result(c.client.call(vproc, 'where', 1, { pid }));
    assert(where.ok);
    assert.deepEqual([where.value.entry.node, where.value.entry.hop], [2, 1]);
    assert(c.node(1).machine.placeholders.has(pid));
    for (const n of [1, 2]) assert.equal(c.node(n).machine.images.size, 0);
  });

  test('round three nodes and home again: no line lost, hop 3, no number held', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    for (const [from, to] of [
      [1, 2],
      [2, 3],
      [3, 1],
    ] as const) {
      await c.clock.pass(100);
      const moved = await c.clock.result(c.node(from).migrate(pid, to));
      assert(moved.ok, JSON.stringify(moved));
      assert.equal(c.copies(pid), 1);
    }
    await c.clock.pass(300);
    assert(assertLines(outOf(c, 1, pid), pid) > 30);
    assert.equal(c.node(1).machine.placeholders.size, 0);
    const wait = c.client.call(vproc, 'wait', 1, { pid, reap: true });
    c.node(1).machine.exit(pid, null, 'SIGTERM');
    const status = await c.clock.result(wait);
    assert(status.ok && status.value.signal === 'SIGTERM');
  });

  test('EOPNOTSUPP: refused with its reason, and the process never stopped', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    c.node(1).ports.preflight.reasons.set(pid, { code: 'EIOURING', pid, detail: 'io_uring' });
    const moved = await c.clock.result(c.node(1).migrate(pid, 2));
    assert(!moved.ok && moved.errno === 'EOPNOTSUPP');
    assert.match(moved.detail, /EIOURING/);
    assert.equal(c.copies(pid), 1);
  });

  for (const [errno, op] of [
    ['ECANCELED', 'criu.dump'],
    ['ECANCELED', 'criu.restore'],
    ['ENOSPC', 'images.write'],
    ['ENOSPC', 'streams.install'],
    ['ECANCELED', 'streams.pause'],
  ] as const)
    test(`${errno}: ${op} fails once: it runs on at the source and moves the next time`, async () => {
      const c = await started();
      const pid = await c.node(1).run();
      await c.clock.pass(50);
      for (const n of [1, 2])
        c.node(n).machine.failing.set(op, n === 1 && op === 'criu.restore' ? 0 : 1);
      const moved = await c.clock.result(c.node(1).migrate(pid, 2));
      assert(!moved.ok && moved.errno === errno, JSON.stringify(moved));
      assert.equal(c.copies(pid), 1);
      assert(c.node(1).machine.processes.has(pid));
      for (const n of [1, 2]) c.node(n).machine.failing.clear();
      await c.clock.pass(1_000);
      assert.equal(c.node(2).machine.images.size, 0);
      const again = await c.clock.result(c.node(1).migrate(pid, 2));
      assert(again.ok, JSON.stringify(again));
      await c.clock.pass(100);
      assertLines(outOf(c, 2, pid), pid);
    });
});
