// Moves in which nobody dies at once but something gives way: the target's membership, the room for
// records, the stream, the service that asked. One copy lives on, and the move ends by its own rules.
import assert from 'node:assert/strict';
import { vproc } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { describe, test } from 'vitest';
import type { FailpointName } from '../src/index.ts';
import { FakeCluster } from './fake-cluster.ts';
import { assertLines } from './lines.ts';

async function counting(): Promise<{ c: FakeCluster; pid: number }> {
  const c = await new FakeCluster(3).start();
  const pid = await c.node(1).run();
  await c.clock.pass(100);
  c.clock.onStep = () => assert(c.copies(pid) <= 1, `two copies run at ${c.clock.nowMs()}`);
  return { c, pid };
}

/** One copy, on this node, that writes on without a gap; nothing of the move is left anywhere. */
async function assertRuns(c: FakeCluster, pid: number, node: number): Promise<void> {
  assert.equal(c.copies(pid), 1, 'one copy runs');
  const { files } = c.node(node).machine;
  const before = assertLines(files.text(pid), pid);
  await c.clock.pass(500);
  assert(assertLines(files.text(pid), pid) > before, 'it writes on');
  for (const n of c.up()) {
    assert.equal(n.machine.processes.has(pid), n.num === node, `on node ${n.num}`);
    assert.equal(n.machine.images.size, 0, `images on node ${n.num}`);
    const left = [...n.machine.records.values()].map(
      (r) => (JSON.parse(r) as { phase: string }).phase,
    );
    assert.deepEqual(
      left.filter((p) => p !== 'resumed' && p !== 'aborted'),
      [],
      `node ${n.num}`,
    );
  }
  const where = await c.clock.result(c.client.call(vproc, 'where', 1, { pid }));
  assert(where.ok && where.value.entry.node === node, JSON.stringify(where));
}

describe('vproc: move: the target’s membership stops', () => {
  test('before it says prepared: it does not say it, and the source runs on', async () => {
    const { c, pid } = await counting();
    const target = c.node(2);
    target.traps.set('move.target.restored', () => target.machine.freeze(true));
    const moving = c.node(1).migrate(pid, 2);
    await c.clock.until(() => target.reached.includes('move.target.prepared'), 5_000);
    await c.clock.pass(600);
    assert(!c.node(1).reached.includes('move.source.prepared'));
    await c.kill(2);
    const moved = await c.clock.result(moving);
    assert(!moved.ok && moved.errno === 'EHOSTDOWN', JSON.stringify(moved));
    await assertRuns(c, pid, 1);
  });

  test('between that word and the decision: the source asks again, and runs on', async () => {
    const { c, pid } = await counting();
    c.node(1).traps.set('move.source.prepared', async () => {
      c.node(2).machine.freeze(true);
      await sleep(c.clock, 500);
    });
    const moving = c.node(1).migrate(pid, 2);
    await c.clock.until(() => c.node(1).reached.includes('move.source.prepared'), 5_000);
    await c.clock.pass(600);
    await c.kill(2);
    const moved = await c.clock.result(moving);
    assert(!moved.ok && moved.errno === 'EHOSTDOWN', JSON.stringify(moved));
    await assertRuns(c, pid, 1);
  });

  test('after the decision: the copy runs at once, without its word', async () => {
    const { c, pid } = await counting();
    c.node(1).traps.set('move.source.committed', () => {
      c.node(2).silentMembership = true;
    });
    const moved = await c.clock.result(c.node(1).migrate(pid, 2));
    assert(moved.ok, JSON.stringify(moved));
    assert(moved.value.freezeMs < 500, `${moved.value.freezeMs} ms`);
    await assertRuns(c, pid, 2);
  });
});

describe('vproc: move: no room for a record', () => {
  /** The point before the record is written, whose it is, and where the process runs then. */
  const writes: [at: 1 | 2, point: FailpointName, record: string, node: 1 | 2][] = [
    [1, 'move.source.negotiated', 'dumping', 1],
    [1, 'move.source.dumping', 'the dumped tree', 1],
    [1, 'move.source.dumped', 'doubt', 1],
    [1, 'move.source.prepared', 'committing', 1],
    [1, 'move.source.killed', 'committed', 2],
    [2, 'move.target.received', 'restoring', 1],
    [2, 'move.target.restored', 'prepared', 1],
    [2, 'move.target.prepared', 'resuming', 2],
    [2, 'move.target.running', 'resumed', 2],
  ];
  for (const [at, point, record, node] of writes)
    test(`${record}: the process runs on node ${node}`, async () => {
      const { c, pid } = await counting();
      const { machine } = c.node(at);
      // Full for good until the move has said so, or for half a second where it must get through.
      c.node(at).traps.set(point, () => {
        machine.failing.set('records.write', Number.POSITIVE_INFINITY);
        if (node === 2) c.clock.after(500, () => machine.failing.clear());
      });
      const moved = await c.clock.result(c.node(1).migrate(pid, 2));
      if (node === 2) assert(moved.ok, JSON.stringify(moved));
      else assert(!moved.ok && moved.errno === 'ENOSPC', JSON.stringify(moved));
      machine.failing.clear();
      await c.clock.pass(1_000);
      await assertRuns(c, pid, node);
    });

  test('prepared, for what only vproc knows: the process runs on node 1', async () => {
    const { c, pid } = await counting();
    const { machine } = c.node(2);
    machine.failing.set('state.write', Number.POSITIVE_INFINITY);
    const moved = await c.clock.result(c.node(1).migrate(pid, 2));
    assert(!moved.ok && moved.errno === 'ENOSPC', JSON.stringify(moved));
    machine.failing.clear();
    await c.clock.pass(1_000);
    await assertRuns(c, pid, 1);
  });

  test('aborted, and the target restarts: no copy comes back', async () => {
    const { c, pid } = await counting();
    const target = c.node(2);
    target.traps.set('move.target.restored', () => {
      target.machine.failing.set('records.write', Number.POSITIVE_INFINITY);
    });
    const moved = await c.clock.result(c.node(1).migrate(pid, 2));
    assert(!moved.ok && moved.errno === 'ENOSPC', JSON.stringify(moved));
    target.crash();
    target.boot();
    target.machine.failing.clear();
    await c.clock.result(target.started);
    await c.clock.pass(2_000);
    await assertRuns(c, pid, 1);
  });
});

describe('vproc: move: the stream', () => {
  test('half open: the process is back within seconds, and says why', async () => {
    const { c, pid } = await counting();
    c.node(1).traps.set('move.source.dumping', () => {
      c.net.halfOpen = true;
    });
    const begun = c.clock.nowMs();
    const moved = await c.clock.result(c.node(1).migrate(pid, 2));
    assert(!moved.ok && /images came/.test(moved.detail), JSON.stringify(moved));
    assert(c.clock.nowMs() - begun < 7_000, `${c.clock.nowMs() - begun} ms`);
    await c.clock.pass(1_000);
    await assertRuns(c, pid, 1);
  });
});

describe('vproc: move: a reservation', () => {
  test('whose source restarted while it negotiated does not stand in the way of the next', async () => {
    const { c, pid } = await counting();
    const source = c.node(1);
    c.node(2).traps.set('move.target.reserved', () => {
      source.crash();
      source.boot();
    });
    void source.migrate(pid, 2);
    await c.clock.until(() => c.node(2).reached.includes('move.target.reserved'), 5_000);
    await c.clock.result(source.started);
    const moved = await c.clock.result(source.migrate(pid, 2));
    assert(moved.ok, JSON.stringify(moved));
    await assertRuns(c, pid, 2);
  });
  test('that nobody connects to ends by itself', async () => {
    const { c } = await counting();
    const source = c.node(1);
    c.node(2).traps.set('move.target.reserved', () => source.crash());
    void source.migrate([...source.machine.processes.keys()][0] ?? 0, 2);
    await c.clock.until(() => c.node(2).machine.images.size === 1, 5_000);
    await c.clock.until(() => c.node(2).machine.images.size === 0, 11_000);
  });
});

describe('vproc: start', () => {
  test('a move that was aborted once does not hold the streams of one that arrived', async () => {
    const { c, pid } = await counting();
    const target = c.node(2);
    target.machine.failing.set('criu.restore', 1);
    assert(!(await c.clock.result(c.node(1).migrate(pid, 2))).ok);
    assert((await c.clock.result(c.node(1).migrate(pid, 2))).ok);
    target.crash();
    target.boot();
    await c.clock.result(target.started);
    await assertRuns(c, pid, 2);
  });
  for (const what of ['state', 'records', 'stubs'])
    test(`${what} cannot be read: nothing is served until it can`, async () => {
      const { c, pid } = await counting();
      assert((await c.clock.result(c.node(1).migrate(pid, 2))).ok);
      const node = c.node(2);
      node.crash();
      node.machine.failing.set(`${what}.list`, Number.POSITIVE_INFINITY);
      node.boot();
      const asked = c.client.call(vproc, 'list', 2, {}, { timeoutMs: 60_000 });
      let answered = false;
      void asked.then(() => {
        answered = true;
      });
      await c.clock.pass(5_000);
      assert(!answered, 'it answers as if nothing were on record');
      node.machine.failing.clear();
      const listed = await c.clock.result(asked);
      assert(listed.ok);
      assert.deepEqual(
        listed.value.processes.map((p) => [p.pid, p.hop]),
        [[pid, 1]],
      );
    });
});
