// vproc wired to memory twins: signals, groups, origins and their surrogates, attached clients, and a
// service that is killed and takes everything over again.
import assert from 'node:assert/strict';
import { attachKind, originOfRange, vproc } from '@ssi/contracts';
import { Packr } from 'msgpackr';
import { describe, test } from 'vitest';
import { Life } from '../src/adapters/ports.fake.ts';
import { FakeCluster } from './fake-cluster.ts';
import { assertLines } from './lines.ts';

const started = (): Promise<FakeCluster> => new FakeCluster(3).start();

async function move(c: FakeCluster, pid: number, from: number, to: number): Promise<void> {
  const moved = await c.clock.result(c.node(from).migrate(pid, to));
  assert(moved.ok, JSON.stringify(moved));
}
const kill = (c: FakeCluster, at: number, pid: number, signal: number, uid = 0) =>
  c.clock.result(c.client.call(vproc, 'signal', at, { pid, signal, uid }));
const where = async (c: FakeCluster, pid: number) => {
  const origin = originOfRange(c.view, Math.floor(pid / 65_536)) ?? 0;
  return c.clock.result(c.client.call(vproc, 'where', origin, { pid }));
};

describe('vproc: signals', () => {
  test('a signal asked of the origin reaches the process on another node', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    await move(c, pid, 1, 3);
    const reply = await kill(c, 1, pid, 10);
    assert(reply.ok && reply.value.delivered === 1, JSON.stringify(reply));
    await c.clock.pass(600);
    const status = await c.clock.result(c.client.call(vproc, 'wait', 1, { pid, reap: true }));
    assert(status.ok && status.value.signal === 'SIG10');
    assert(!c.node(1).machine.placeholders.has(pid), 'the number is free again');
  });

  test('EINVAL, ESRCH, EPERM: no such signal, no such process, not yours', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    const expect = async (errno: string, p: number, signal: number, uid: number) => {
      const reply = await kill(c, 1, p, signal, uid);
      assert(!reply.ok && reply.errno === errno, JSON.stringify(reply));
    };
    await expect('EINVAL', pid, 33, 0);
    await expect('ESRCH', 65_536 + 999, 15, 0);
    await expect('EPERM', pid, 15, 1_000);
    assert.equal(c.copies(pid), 1);
  });

  test('a group’s signal reaches its members on two nodes, once each', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    const child = c.node(1).machine.fork(pid);
    assert(child);
    await move(c, pid, 1, 2);
    // A new child at 2 has a pid of range 2 and the group of range 1.
    const second = c.node(2).machine.fork(pid);
    assert(second);
    await c.clock.pass(300);
    const reply = await kill(c, 1, -pid, 10);
    assert(reply.ok && reply.value.delivered === 3, JSON.stringify(reply));
    assert.equal(
      c.machines().reduce((n, m) => n + m.processes.size, 0),
      0,
    );
  });

  test('a signal during a move waits, and is delivered once, where the process arrives', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    await c.clock.pass(50);
    const moving = c.node(1).migrate(pid, 2);
    await c.clock.until(() => c.node(1).reached.includes('move.source.doubt'), 5_000);
    const killing = c.client.call(vproc, 'signal', 1, { pid, signal: 28, uid: 0 });
    const moved = await c.clock.result(moving);
    assert(moved.ok);
    const reply = await c.clock.result(killing);
    assert(reply.ok && reply.value.delivered === 1, JSON.stringify(reply));
    assert.deepEqual(
      c.machines().map((m) => m.signals.length),
      [0, 1, 0],
    );
  });
});

describe('vproc: nodedown', () => {
  test('the birth node dies: the emigrant runs on, its surrogate finds it, wait gets its status', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    await move(c, pid, 1, 2);
    await c.kill(1);
    assert.equal(c.copies(pid), 1);
    const found = await where(c, pid);
    assert(found.ok && found.value.entry.node === 2, JSON.stringify(found));
    const surrogate = originOfRange(c.view, 1) ?? 0;
    const wait = c.client.call(vproc, 'wait', surrogate, { pid, reap: true });
    await c.clock.pass(50);
    c.node(2).machine.exit(pid, 7);
    const status = await c.clock.result(wait);
    assert(status.ok && status.value.code === 7);
  });

  test('a process that dies with its node: wait gets SIGKILL and EHOSTDOWN', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    await move(c, pid, 1, 2);
    const wait = c.client.call(vproc, 'wait', 1, { pid, reap: true });
    await c.clock.pass(50);
    await c.kill(2);
    const status = await c.clock.result(wait);
    assert(status.ok && status.value.signal === 'SIGKILL' && status.value.reason === 'EHOSTDOWN');
    await c.clock.pass(300);
    assert(!c.node(1).machine.placeholders.has(pid));
  });

  test('a process that dies with its birth node is still waited for: the standby knew it', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    await c.clock.pass(300);
    await c.kill(1);
    const surrogate = originOfRange(c.view, 1) ?? 0;
    const reply = await c.clock.result(
      c.client.call(vproc, 'wait', surrogate, { pid, reap: true }),
    );
    assert(reply.ok && reply.value.reason === 'EHOSTDOWN', JSON.stringify(reply));
  });
});

describe('vproc: restart of the service', () => {
  test('its processes are found again with hop, traits and output; no number is forgotten', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    const home = await c.node(2).run();
    await move(c, pid, 1, 2);
    await move(c, home, 2, 1);
    c.node(2).crash();
    await c.clock.pass(100);
    c.node(2).boot();
    await c.clock.result(c.node(2).started);
    await c.clock.pass(500);
    const found = await where(c, pid);
    assert(found.ok);
    assert.deepEqual([found.value.entry.node, found.value.entry.hop], [2, 1]);
    assert.equal(c.copies(pid), 1, 'it still runs');
    const away = await where(c, home);
    assert(away.ok && away.value.entry.node === 1, JSON.stringify(away));
    assert(c.node(2).machine.placeholders.has(home), 'still held');
    await move(c, pid, 2, 3);
    await c.clock.pass(100);
    assertLines(c.node(3).machine.files.text(pid), pid);
    const again = await where(c, pid);
    assert(again.ok && again.value.entry.hop === 2);
  });

  test('what ended while it was away is told by the guard’s file', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    c.node(1).crash();
    await c.clock.pass(50);
    c.node(1).machine.exit(pid, 5);
    c.node(1).boot();
    await c.clock.result(c.node(1).started);
    const status = await c.clock.result(
      c.client.call(vproc, 'wait', 1, { pid, reap: true }, { timeoutMs: 5_000 }),
    );
    assert(status.ok && status.value.code === 5, JSON.stringify(status));
  });
});

describe('vproc: attach', () => {
  const packr = new Packr({ useRecords: false });

  test('output by offset from the start, input acknowledged, the move told, then on from there', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    await c.clock.pass(200);
    let text = '';
    const inputs: number[] = [];
    const follow = async (node: number, from: number): Promise<number> => {
      const opened = await c.client.call(vproc, 'attach', node, { pid, input: true });
      assert(opened.ok, JSON.stringify(opened));
      const { token } = opened.value;
      const to = { ...opened.value, node };
      const stream = await c.net.streams(0, new Life()).connect(to, token, 1_000);
      assert(stream.ok);
      await stream.value.write(packr.pack([attachKind.open, { out: from }]));
      if (from === 0)
        await stream.value.write(
          packr.pack([attachKind.input, 0, new TextEncoder().encode('hello')]),
        );
      let at = from;
      for (let data = await stream.value.read(); data; data = await stream.value.read()) {
        const message = packr.unpack(data) as [number, ...unknown[]];
        if (message[0] === attachKind.data) {
          const bytes = message[3] as Uint8Array;
          assert.equal(message[2], at);
          at += bytes.length;
          text += new TextDecoder().decode(bytes);
          await stream.value.write(packr.pack([attachKind.ack, 'out', at]));
        } else if (message[0] === attachKind.ack) inputs.push(message[2] as number);
        else if (message[0] === attachKind.moved) return message[1] as number;
        else if (message[0] === attachKind.exit) return -1;
      }
      return 0;
    };
    const whole = (async () => {
      const next = await follow(1, 0);
      return [next, await follow(next, text.length)];
    })();
    await c.clock.pass(200);
    await move(c, pid, 1, 2);
    await c.clock.pass(200);
    c.node(2).machine.exit(pid, 0);
    const ends = await c.clock.result(whole);
    assert.deepEqual(ends, [2, -1]);
    assert(assertLines(text, pid) > 40);
    assert(inputs.includes(5), 'the input is in the log');
  });

  test('a client that was let in and connects when the process has left is sent away, not kept waiting', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    const opened = await c.clock.result(c.client.call(vproc, 'attach', 1, { pid, input: false }));
    assert(opened.ok);
    await move(c, pid, 1, 2);
    const { token } = opened.value;
    const to = { ...opened.value, node: 1 };
    const stream = await c.net.streams(0, new Life()).connect(to, token, 1_000);
    assert(stream.ok);
    await stream.value.write(packr.pack([attachKind.open, { out: 0 }]));
    const answer = await c.clock.result(stream.value.read().catch(() => 'ended'));
    assert.equal(answer ?? 'ended', 'ended');
  });

  test('a copy that was killed while its move was in doubt is no end: its process comes back, and is attached to', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    let release = (): void => {};
    c.node(1).traps.set('move.source.prepared', () => new Promise((done) => (release = done)));
    void c.node(1).migrate(pid, 2);
    const held = (): boolean => c.node(1).reached.includes('move.source.prepared');
    await c.clock.until(held, 30_000, () => 'it is not prepared');
    // Its node is excluded and its guard kills all; the target has a copy, which goes on by the view.
    c.node(1).machine.signal(pid, 9);
    await c.commit(1, 'DOWN');
    release();
    await c.clock.until(
      () => c.node(2).machine.processes.get(pid)?.state === 'running',
      30_000,
      () => 'it does not run on node 2',
    );
    await c.commit(1, 'UP');
    await c.clock.pass(5_000);
    await move(c, pid, 2, 1);
    const opened = await c.clock.result(c.client.call(vproc, 'attach', 1, { pid, input: false }));
    assert(opened.ok);
    const to = { ...opened.value, node: 1 };
    const stream = await c.net.streams(0, new Life()).connect(to, to.token, 1_000);
    assert(stream.ok);
    await stream.value.write(packr.pack([attachKind.open, { out: 0 }]));
    const kinds: number[] = [];
    void (async () => {
      for (let data = await stream.value.read(); data; data = await stream.value.read()) {
        const message = packr.unpack(data) as [number, string, number, Uint8Array];
        kinds.push(message[0]);
        const at = message[2] + (message[3]?.length ?? 0);
        if (message[0] === attachKind.data)
          await stream.value.write(packr.pack([attachKind.ack, 'out', at]));
      }
    })();
    await c.clock.pass(1_000);
    assert(kinds.length > 5, `${kinds.length} messages in a second`);
    assert(
      kinds.every((kind) => kind === attachKind.data),
      kinds.join(),
    );
  });

  test('ENOENT and EREMCHG: no streams here; moved there', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    await move(c, pid, 1, 2);
    const gone = await c.clock.result(c.client.call(vproc, 'attach', 1, { pid, input: false }));
    assert(!gone.ok && gone.errno === 'EREMCHG' && gone.node === 2, JSON.stringify(gone));
    const none = await c.clock.result(
      c.client.call(vproc, 'attach', 3, { pid: 70_000, input: false }),
    );
    assert(!none.ok && none.errno === 'ENOENT');
  });
});

describe('vproc: why-not', () => {
  test('each reason with its code; a target that is not UP is one of them', async () => {
    const c = await started();
    const pid = await c.node(1).run();
    const child = c.node(1).machine.fork(pid);
    assert(child);
    await c.clock.pass(150);
    const ask = async (p: number, to?: number) => {
      const reply = await c.clock.result(
        c.client.call(vproc, 'whyNot', 1, { pid: p, ...(to ? { to } : {}) }),
      );
      assert(reply.ok, JSON.stringify(reply));
      return reply.value.reasons.map((r) => r.code);
    };
    assert.deepEqual(await ask(pid, 2), []);
    assert.deepEqual(await ask(pid, 1), ['ESELF']);
    assert.deepEqual(await ask(pid, 9), ['ENODE']);
    const codes = await ask(child.pid);
    // A stub could stand in for it, but its output is the parent's.
    assert.deepEqual(codes, ['EEXTERNALFD']);
  });
});
