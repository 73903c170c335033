// rfork: a child that its parent forked goes to another node inside of the call, as libssi asks for it. It
// runs once, it is its parent's, and a request that is repeated after any death of vproc changes nothing.
import assert from 'node:assert/strict';
import { vproc } from '@ssi/contracts';
import { describe, test } from 'vitest';
import { type FailpointName, failpoints } from '../src/index.ts';
import { FakeCluster } from './fake-cluster.ts';

/** What libssi does: asks again as long as nobody answers. */
async function ask(c: FakeCluster, num: number, pid: number, request: string) {
  const { machine } = c.node(num);
  for (;;) {
    const asked = machine.ssisys?.({ pid, uid: 7, gid: 7 }, request.split(' '));
    const silent = new Promise<undefined>((done) => c.clock.after(20_000, () => done(undefined)));
    const reply = await c.clock.result(Promise.race([asked, silent]), 60_000);
    if (reply) return reply;
  }
}

/** A parent on node 1 and its child, which has made itself movable. */
async function forked() {
  const c = await new FakeCluster(3).start();
  const parent = await c.node(1).run();
  const child = c.node(1).machine.fork(parent);
  assert(child);
  c.node(1).machine.setsid(child.pid);
  const streams = await ask(c, 1, child.pid, 'streams');
  assert(streams.ok, JSON.stringify(streams));
  assert.equal(streams.value, `/streams/${child.pid}/out /streams/${child.pid}/err`);
  child.owner = child.pid;
  c.clock.onStep = () => {
    const real = c.machines().filter((m) => {
      const p = m.processes.get(child.pid);
      return p && !p.stub;
    });
    if (real.length > 1) assert.equal(c.copies(child.pid), 0, `one of ${real.length} runs`);
  };
  return { c, parent, pid: child.pid };
}
const waited = (c: FakeCluster, pid: number) =>
  c
    .node(1)
    .machine.waited.filter((w) => w.pid === pid)
    .map((w) => w.code);

/** Each of its lines once, in order, wherever it wrote it. */
function assertLines(c: FakeCluster, num: number, pid: number): void {
  const lines = c.node(num).machine.files.text(pid).split('\n').slice(0, -1);
  assert(lines.length > 5, `${lines.length} lines`);
  lines.forEach((line, i) => {
    assert.equal(line, `${pid} ${i}`);
  });
}

describe('vproc: rfork', () => {
  test('the child runs on the other node with streams of its own; its parent waits for it', async () => {
    const { c, parent, pid } = await forked();
    const reply = await ask(c, 1, parent, `rfork ${pid} 2`);
    assert(reply.ok, JSON.stringify(reply));
    assert.equal(c.node(2).machine.processes.get(pid)?.state, 'running');
    assert(c.node(1).machine.processes.get(pid)?.stub);
    const here = await ask(c, 2, pid, 'node');
    assert(here.ok && here.value === '2');
    await c.clock.pass(500);
    assertLines(c, 2, pid);
    c.node(1).crash();
    c.node(1).boot();
    await c.clock.result(c.node(1).started);
    c.node(2).machine.exit(pid, 42);
    await c.clock.pass(2_000);
    assert.deepEqual(waited(c, pid), [42]);
  });

  test('two children of one parent go to one node', async () => {
    const { c, parent, pid } = await forked();
    const second = c.node(1).machine.fork(parent);
    assert(second);
    c.node(1).machine.setsid(second.pid);
    assert((await ask(c, 1, second.pid, 'streams')).ok);
    second.owner = second.pid;
    assert((await ask(c, 1, parent, `rfork ${pid} 2`)).ok);
    assert((await ask(c, 1, parent, `rfork ${second.pid} 2`)).ok);
    for (const p of [pid, second.pid]) assert.equal(c.copies(p), 1);
  });

  test('asked again it is the same; its own node is asked for: it stays', async () => {
    const { c, parent, pid } = await forked();
    const stay = await ask(c, 1, parent, `rfork ${pid} 1`);
    assert(stay.ok && c.node(1).machine.processes.get(pid)?.stub === undefined);
    const both = await Promise.all([
      ask(c, 1, parent, `rfork ${pid} 2`),
      ask(c, 1, parent, `rfork ${pid} 2`),
    ]);
    assert(both.every((r) => r.ok));
    assert((await ask(c, 1, parent, `rfork ${pid} 2`)).ok);
    assert.equal(c.copies(pid), 1);
  });

  test('what is refused: unknown nodes, nodes that are down, strangers, what cannot move', async () => {
    const { c, parent, pid } = await forked();
    const errno = async (asker: number, request: string): Promise<string> => {
      const reply = await ask(c, 1, asker, request);
      return reply.ok ? 'ok' : reply.errno;
    };
    assert.equal(await errno(parent, `rfork ${pid} 9`), 'EINVAL');
    assert.equal(await errno(parent, `rfork ${pid} x`), 'EINVAL');
    assert.equal(await errno(pid, `rfork ${parent} 2`), 'ESRCH');
    assert.equal(await errno(parent, 'rfork 77 2'), 'ESRCH');
    assert.equal(await errno(parent, 'fly 2'), 'ENOSYS');
    assert.equal(await errno(4_000_000, `rfork ${pid} 2`), 'EPERM');
    assert.equal(await errno(parent, 'streams'), 'ok');
    const young = c.node(1).machine.fork(parent);
    assert(young);
    assert.equal(await errno(young.pid, 'streams'), 'EINVAL');
    const { preflight } = c.node(1).ports;
    preflight.reasons.set(pid, { code: 'EEXTERNALFD', pid, detail: 'a pipe of its parent' });
    assert.equal(await errno(parent, `rfork ${pid} 2`), 'EOPNOTSUPP');
    preflight.reasons.clear();
    c.node(2).machine.failing.set('criu.restore', 1);
    assert.equal(await errno(parent, `rfork ${pid} 2`), 'ECANCELED');
    assert.equal(c.copies(pid), 1);
    await c.kill(3);
    assert.equal(await errno(parent, `rfork ${pid} 3`), 'EHOSTDOWN');
    assert.equal(await errno(parent, `rfork ${pid} 2`), 'ok');
  });

  for (const point of failpoints.filter((p): p is FailpointName => p.startsWith('move.')))
    test(`vproc dies at ${point}: the parent asks again, and the child runs there, once`, async () => {
      const { c, parent, pid } = await forked();
      const side = point.startsWith('move.source.') ? 1 : 2;
      c.node(side).traps.set(point, 'vproc');
      if (/aborting|rollback|destroying/.test(point))
        c.node(2).machine.failing.set('criu.restore', 1);
      let reply = await ask(c, 1, parent, `rfork ${pid} 2`);
      // Rolled back: libssi would end the child and say so. It is whole, so it may as well be asked again.
      if (!reply.ok) {
        assert(['ECANCELED', 'EAGAIN'].includes(reply.errno), JSON.stringify(reply));
        assert.equal(c.copies(pid), 1);
        reply = await ask(c, 1, parent, `rfork ${pid} 2`);
      }
      assert(reply.ok, JSON.stringify(reply));
      await c.clock.pass(10_000);
      assert(c.node(side).reached.includes(point));
      assert.equal(c.copies(pid), 1);
      assertLines(c, 2, pid);
      c.node(2).machine.exit(pid, 7);
      await c.clock.pass(3_000);
      assert.deepEqual(waited(c, pid), [7]);
      const gone = await c.clock.result(
        c.client.call(vproc, 'wait', 1, { pid, reap: true, noHang: true }),
      );
      assert(!gone.ok, 'its parent has taken the status');
    });
});
