// What bad or badly timed requests get, errno by errno, and that nothing of them stays.
import assert from 'node:assert/strict';
import { type RequestOf, vproc } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { describe, test } from 'vitest';
import { FakeCluster } from './fake-cluster.ts';
import { assertLines } from './lines.ts';

type Migrate = RequestOf<(typeof vproc)['ops']['migrate']>;
const started = (): Promise<FakeCluster> => new FakeCluster(3).start();

async function refused(
  c: FakeCluster,
  request: Partial<Migrate> & { pid: number },
  errno: string,
  text?: RegExp,
): Promise<void> {
  const call = c.client.call(vproc, 'migrate', 1, { to: 2, uid: 0, ...request });
  const reply = await c.clock.result(call);
  assert(!reply.ok && reply.errno === errno, `${errno}: ${JSON.stringify(reply)}`);
  if (text) assert.match(reply.detail, text);
}
const run = async (c: FakeCluster, more: object): Promise<number> => {
  const request = { argv: ['count'], env: {}, cwd: '/', uid: 0, gid: 0, ...more };
  const reply = await c.clock.result(c.client.call(vproc, 'run', 1, request));
  assert(reply.ok, JSON.stringify(reply));
  return reply.value.pid;
};

describe('vproc: migrate refuses', () => {
  test('ESRCH, EINVAL, EHOSTDOWN, EPERM: before anything is stopped', async () => {
    const c = await started();
    const pid = await run(c, { uid: 7 });
    await refused(c, { pid: 65_999 }, 'ESRCH');
    await refused(c, { pid, to: 1 }, 'EINVAL', /ESELF/);
    await refused(c, { pid, to: 9 }, 'EHOSTDOWN');
    await refused(c, { pid, uid: 8 }, 'EPERM');
    await refused(c, { pid, postCopy: true }, 'EOPNOTSUPP', /post-copy/);
    assert.equal(c.copies(pid), 1);
    assert(!c.node(1).reached.includes('move.source.dumping'));
  });

  test('EBUSY while it moves, EREMCHG once it has', async () => {
    const c = await started();
    const pid = await run(c, {});
    const first = c.client.call(vproc, 'migrate', 1, { pid, to: 2, uid: 0 });
    await c.clock.until(() => c.node(1).reached.includes('move.source.negotiated'), 5_000);
    await refused(c, { pid, to: 3 }, 'EBUSY');
    const moved = await c.clock.result(first);
    assert(moved.ok, JSON.stringify(moved));
    await refused(c, { pid, to: 3 }, 'EREMCHG');
    await c.clock.pass(100);
    assertLines(c.node(2).machine.files.text(pid), pid);
  });

  test('two moves of one process asked for at once: one of them moves it', async () => {
    const c = await started();
    const pid = await run(c, {});
    c.clock.onStep = () => assert(c.copies(pid) <= 1);
    const both = await c.clock.result(
      Promise.all([2, 3].map((to) => c.client.call(vproc, 'migrate', 1, { pid, to, uid: 0 }))),
    );
    assert.equal(both.filter((r) => r.ok).length, 1, JSON.stringify(both));
    await c.clock.pass(500);
    assert.equal(c.copies(pid), 1);
  });

  test('a move that failed at its source is asked for again at once: the target is not in its own way', async () => {
    const c = await started();
    const pid = await run(c, {});
    c.node(1).machine.failing.set('criu.dump', 1);
    c.node(2).traps.set('move.target.destroying', () => sleep(c.clock, 50));
    await refused(c, { pid }, 'ECANCELED', /injected/);
    const moved = await c.clock.result(c.client.call(vproc, 'migrate', 1, { pid, to: 2, uid: 0 }));
    assert(moved.ok, JSON.stringify(moved));
    await c.clock.pass(500);
    assert.equal(c.copies(pid), 1);
    assert.equal(c.node(2).machine.images.size, 0);
  });

  test('what it opens after the preflight, before it is stopped: it stays, and runs on', async () => {
    const c = await started();
    const pid = await run(c, {});
    const { reasons } = c.node(1).ports.preflight;
    c.node(1).traps.set('move.source.dumping', () => {
      reasons.set(pid, { code: 'ELOCK', pid, detail: 'has locked a file' });
    });
    await refused(c, { pid }, 'ECANCELED', /ELOCK/);
    await c.clock.pass(500);
    assert.equal(c.copies(pid), 1);
    assertLines(c.node(1).machine.files.text(pid), pid);
  });

  test('EPINNED: not by its owner, but by root with force', async () => {
    const c = await started();
    const pid = await run(c, { pin: true, uid: 7 });
    await refused(c, { pid, uid: 7, force: true }, 'EOPNOTSUPP', /EPINNED/);
    const forced = c.client.call(vproc, 'migrate', 1, { pid, to: 2, uid: 0, force: true });
    const moved = await c.clock.result(forced);
    assert(moved.ok, JSON.stringify(moved));
  });

  test('ENOSPACE and EPIDBUSY: the target has no room, or uses the number', async () => {
    const c = await started();
    const pid = await run(c, {});
    c.node(2).machine.freeBytes = 1_000;
    await refused(c, { pid }, 'EOPNOTSUPP', /ENOSPACE/);
    c.node(2).machine.freeBytes = 1e9;
    c.node(2).machine.start({ pid });
    await refused(c, { pid }, 'EOPNOTSUPP', /EPIDBUSY/);
    assert.equal(c.node(2).machine.images.size, 0);
  });

  test('ENETDOWN: no lease here; EFROZEN: none at the target', async () => {
    const c = await started();
    const pid = await run(c, {});
    c.node(2).machine.freeze(true);
    await refused(c, { pid }, 'EOPNOTSUPP', /EFROZEN/);
    c.node(1).machine.freeze(true);
    await refused(c, { pid }, 'ENETDOWN');
    const again = { argv: ['count'], env: {}, cwd: '/', uid: 0, gid: 0 };
    const reply = await c.clock.result(c.client.call(vproc, 'run', 1, again));
    assert(!reply.ok && reply.errno === 'ENETDOWN');
    const list = await c.clock.result(c.client.call(vproc, 'list', 1, {}));
    assert(list.ok);
    assert.deepEqual(
      list.value.processes.map((p) => p.state),
      ['frozen'],
    );
  });
});

describe('vproc: other refusals', () => {
  test('ENOTTY: a window size for what has no terminal', async () => {
    const c = await started();
    const pid = await run(c, {});
    const resize = c.client.call(vproc, 'resize', 1, { pid, rows: 24, cols: 80 });
    const reply = await c.clock.result(resize);
    assert(!reply.ok && reply.errno === 'ENOTTY');
  });

  test('EAGAIN: wait with noHang for what still runs', async () => {
    const c = await started();
    const pid = await run(c, {});
    const wait = c.client.call(vproc, 'wait', 1, { pid, reap: true, noHang: true });
    const reply = await c.clock.result(wait);
    assert(!reply.ok && reply.errno === 'EAGAIN');
  });

  test('ESTALE: the report of an incarnation that is DOWN is not taken', async () => {
    const c = await started();
    const pid = await run(c, {});
    await c.kill(3);
    const entry = { pid, ppid: 0, pgid: pid, sid: pid, tids: [], kind: 'native' as const };
    const reply = await c.clock.result(
      c.client.call(vproc, 'report', 1, {
        node: 3,
        incarnation: { bootCount: 1, bootId: '3'.padStart(16, '0') },
        entries: [{ ...entry, node: 3, hop: 9, phase: 'live' }],
        gone: [],
      }),
    );
    assert(!reply.ok && reply.errno === 'ESTALE');
    const where = await c.clock.result(c.client.call(vproc, 'where', 1, { pid }));
    assert(where.ok && where.value.entry.node === 1);
  });
});

describe('vproc: SIGCLUSTER', () => {
  test('who asked for it hears of a membership change, on whatever node it is by then', async () => {
    const c = await started();
    const pid = await run(c, { sigcluster: 28 });
    const deaf = await run(c, {});
    const moved = await c.clock.result(c.client.call(vproc, 'migrate', 1, { pid, to: 2, uid: 0 }));
    assert(moved.ok);
    await c.clock.pass(300);
    await c.kill(3);
    await c.clock.pass(50);
    assert.deepEqual(c.node(2).machine.signals, [{ pid, signal: 28 }]);
    assert(!c.node(1).machine.signals.some((s) => s.pid === deaf));
  });
});
