// Each errno of ICS by name, on a virtual clock and a network without faults, so that every case is
// exactly the one that is meant.
import { fail, ok, type View } from '@ssi/contracts';
import { type ServedCall, seededRandom } from '@ssi/ports';
import { beforeEach, expect, test } from 'vitest';
import { createIcs, type IcsEndpoint } from '../src/ics.ts';
import { MemoryBus } from '../src/transport.memory.ts';
import { echo } from './echo.contract.ts';
import { life, viewOf } from './view.ts';
import { SimNet, VirtualClock } from './virtual.ts';

let clock: VirtualClock;
let net: SimNet;
const random = seededRandom(3);
beforeEach(() => {
  clock = new VirtualClock();
  net = new SimNet(clock, random, { drop: 0, duplicate: 0, delayMs: 0 });
});
const endpoint = (node: number, service: string): IcsEndpoint =>
  createIcs({ node, service, clock, random, transports: [net.transport(node, service)] });

interface Held {
  runs: { n: number; call: ServedCall }[];
  release(): void;
  ics: IcsEndpoint;
}
/** A server on node 1 whose `slow` and `watch` answer when released. */
function held(options: { inWorkMax?: number; queueMax?: number } = {}): Held {
  const ics = endpoint(1, 'echo');
  const waiting: (() => void)[] = [];
  const runs: Held['runs'] = [];
  const hold = ({ n }: { n: number }, call: ServedCall) => {
    runs.push({ n, call });
    return new Promise<ReturnType<typeof ok<{ n: number }>>>((done) =>
      waiting.push(() => done(ok({ n }))),
    );
  };
  ics.serve(
    echo,
    { say: ({ n }) => ok({ n, size: 0 }), slow: hold, watch: hold, tell: () => ok() },
    options,
  );
  return {
    runs,
    ics,
    release: () => {
      for (const w of waiting.splice(0)) w();
    },
  };
}
const run = (ms: number) => clock.run(clock.nowMs() + ms);
const ended = async <T>(done: Promise<T>, ms = 10_000): Promise<T> => {
  await run(ms);
  return done;
};

test('ICS: EAGAIN: past work and queue bounds, to new calls only; long polls do not count', async () => {
  const server = held({ inWorkMax: 2, queueMax: 3 });
  const client = endpoint(0, 'cli');
  const watch = client.call(echo, 'watch', 1, { n: 0 });
  const calls = [1, 2, 3, 4, 5, 6, 7].map((n) => client.call(echo, 'slow', 1, { n }));
  await run(3_000);
  expect(server.runs.map((r) => r.n)).toEqual([0, 1, 2]);
  for (let i = 0; i < 4; i++) {
    server.release();
    await run(10);
  }
  const replies = await Promise.all(calls);
  expect(replies.map((r) => (r.ok ? r.value.n : r.errno))).toEqual([
    1,
    2,
    3,
    4,
    5,
    'EAGAIN',
    'EAGAIN',
  ]);
  expect(await watch).toMatchObject({ ok: true });
  // A message finds room later instead.
  expect(server.runs.map((r) => r.n)).toEqual([0, 1, 2, 3, 4, 5]);
});

test('ICS: priorities have lanes of their own: a full one does not hold up a nested call', async () => {
  const server = held({ inWorkMax: 1, queueMax: 1 });
  const client = endpoint(0, 'cli');
  const low = client.call(echo, 'slow', 1, { n: 1 });
  await run(10);
  const nested = client.call(echo, 'slow', 1, { n: 2 }, { context: { priority: 0 } });
  await run(10);
  expect(server.runs.map((r) => [r.n, r.call.context.priority])).toEqual([
    [1, 0],
    [2, 1],
  ]);
  server.release();
  expect(await ended(low)).toMatchObject({ ok: true });
  expect(await ended(nested)).toMatchObject({ ok: true });
});

test('ICS: EBADMSG: a request that is not what the contract says', async () => {
  held();
  const client = endpoint(0, 'cli');
  const bad = { n: 'one' } as unknown as { n: number };
  expect(await ended(client.call(echo, 'say', 1, bad))).toMatchObject({ errno: 'EBADMSG' });
});

test('ICS: EMSGSIZE: over 512 KiB, asked or answered', async () => {
  const big = new Uint8Array(600 * 1024);
  const server = endpoint(1, 'echo');
  const huge = { n: 1, size: 0, more: big };
  server.serve(echo, { say: () => ok(huge) });
  const client = endpoint(0, 'cli');
  const asked = client.call(echo, 'say', 1, { n: 1, data: big });
  expect(await ended(asked)).toMatchObject({ errno: 'EMSGSIZE' });
  const answered = client.call(echo, 'say', 1, { n: 1 });
  expect(await ended(answered)).toMatchObject({ errno: 'EMSGSIZE' });
});

test('ICS: ENOSYS: no handler; EPROTONOSUPPORT: another version', async () => {
  const server = endpoint(1, 'echo');
  server.serve(echo, {});
  const client = endpoint(0, 'cli');
  expect(await ended(client.call(echo, 'say', 1, { n: 1 }))).toMatchObject({ errno: 'ENOSYS' });
  const later = { ...echo, version: 2 };
  expect(await ended(client.call(later, 'say', 1, { n: 1 }))).toMatchObject({
    errno: 'EPROTONOSUPPORT',
  });
});

test('ICS: EHOSTUNREACH: nobody serves it', async () => {
  const bus = new MemoryBus();
  const transports = [bus.transport({ node: 0, service: 'cli' })];
  const client = createIcs({ node: 0, service: 'cli', clock, random, transports });
  const done = client.call(echo, 'say', 1, { n: 1 });
  expect(await ended(done, 1)).toMatchObject({ errno: 'EHOSTUNREACH' });
});

test('ICS: ETIMEDOUT: it may have run; the server is told that nobody waits', async () => {
  const server = held();
  const client = endpoint(0, 'cli');
  const done = client.call(echo, 'slow', 1, { n: 1 }, { timeoutMs: 500 });
  await run(100);
  const signal = server.runs[0]?.call.signal;
  expect(signal?.aborted).toBe(false);
  expect(await ended(done, 500)).toMatchObject({ errno: 'ETIMEDOUT' });
  await run(100);
  expect(signal?.aborted).toBe(true);
});

test('ICS: ETIMEDOUT: a handler that throws leaves it open whether it ran', async () => {
  const server = endpoint(1, 'echo');
  server.serve(echo, {
    say: () => {
      throw new Error('a bug');
    },
  });
  const client = endpoint(0, 'cli');
  expect(await ended(client.call(echo, 'say', 1, { n: 1 }))).toMatchObject({ errno: 'ETIMEDOUT' });
});

test('ICS: ECANCELED: withdrawn by handle, by signal, by close', async () => {
  const server = held();
  const client = endpoint(0, 'cli');
  const handle = client.request(echo, 'slow', 1, { n: 1 });
  const abort = new AbortController();
  const signalled = client.call(echo, 'slow', 1, { n: 2 }, { signal: abort.signal });
  const closed = client.call(echo, 'slow', 1, { n: 3 });
  await run(100);
  handle.cancel();
  abort.abort();
  expect(await ended(handle.done, 100)).toMatchObject({ errno: 'ECANCELED' });
  expect(await ended(signalled, 100)).toMatchObject({ errno: 'ECANCELED' });
  // The numbers they used do not hold up later calls.
  expect(await ended(client.call(echo, 'say', 1, { n: 4 }), 100)).toMatchObject({ ok: true });
  await client.close();
  expect(await closed).toMatchObject({ errno: 'ECANCELED' });
  expect(await client.call(echo, 'say', 1, { n: 5 })).toMatchObject({ errno: 'ECANCELED' });
  expect(server.runs).toHaveLength(3);
});

test('ICS: EHOSTDOWN: at nodedown every pending call, and new ones at once', async () => {
  held();
  const client = endpoint(2, 'vproc');
  client.setView(viewOf(1, [1, 'UP', 1], [2, 'UP', 1]), { num: 2, incarnation: life(1) });
  const pending = client.call(echo, 'slow', 1, { n: 1 });
  await run(100);
  client.setView(viewOf(2, [1, 'KCLEANUP', 1], [2, 'UP', 1]));
  expect(await pending).toMatchObject({ errno: 'EHOSTDOWN' });
  expect(await client.call(echo, 'say', 1, { n: 2 })).toMatchObject({ errno: 'EHOSTDOWN' });
  // A next life of the node is somebody to talk to; a call to the former one would end.
  const again = viewOf(3, [1, 'UP', 2], [2, 'UP', 1]);
  client.setView(again);
  expect(await ended(client.call(echo, 'say', 1, { n: 3 }))).toMatchObject({ ok: true });
  const former = client.call(echo, 'slow', 1, { n: 4 });
  await run(100);
  client.setView(viewOf(4, [1, 'UP', 3], [2, 'UP', 1]));
  expect(await former).toMatchObject({ errno: 'EHOSTDOWN' });
});

test('ICS: ESTALE: older incarnations and strangers; a newer view than ours is waited for', async () => {
  const server = held();
  server.ics.setView(viewOf(5, [1, 'UP', 1], [2, 'UP', 2]), { num: 1, incarnation: life(1) });
  const say = (ics: IcsEndpoint) => ended(ics.call(echo, 'say', 1, { n: 1 }), 6_000);
  const from = (num: number, boots: number, view: View, service = 'vproc'): IcsEndpoint => {
    const ics = endpoint(num, service);
    ics.setView(view, { num, incarnation: life(boots) });
    return ics;
  };
  const older = from(2, 1, viewOf(4, [1, 'UP', 1], [2, 'UP', 1]));
  expect(await say(older)).toMatchObject({ errno: 'ESTALE' });
  const stranger = from(7, 1, viewOf(5, [1, 'UP', 1], [7, 'UP', 1]));
  expect(await say(stranger)).toMatchObject({ errno: 'ESTALE' });
  expect(await say(endpoint(7, 'dlm'))).toMatchObject({ errno: 'ESTALE' });
  const member = from(2, 2, viewOf(5, [1, 'UP', 1], [2, 'UP', 2]), 'dlm');
  expect(await say(member)).toMatchObject({ ok: true });
  expect(await say(endpoint(0, 'cli'))).toMatchObject({ ok: true });
  // Node 3 joined in view 6, which the server has not got yet.
  const joined = viewOf(6, [1, 'UP', 1], [2, 'UP', 2], [3, 'UP', 1]);
  const early = from(3, 1, joined).call(echo, 'say', 1, { n: 9 });
  await run(500);
  server.ics.setView(joined);
  expect(await ended(early)).toMatchObject({ ok: true });
});

test('ICS: ESTALE: what a node asked in a former life of its own; nothing of it runs in the next', async () => {
  const server = held();
  const client = endpoint(2, 'vproc');
  client.setView(viewOf(1, [1, 'UP', 1], [2, 'UP', 1]), { num: 2, incarnation: life(1) });
  server.ics.setView(viewOf(1, [1, 'UP', 1], [2, 'UP', 1]), { num: 1, incarnation: life(1) });
  const former = client.call(echo, 'slow', 1, { n: 1 });
  await run(20);
  server.ics.setView(viewOf(2, [1, 'UP', 1], [2, 'DOWN', 1]));
  const back = viewOf(3, [1, 'UP', 1], [2, 'UP', 2]);
  server.ics.setView(back);
  client.setView(back, { num: 2, incarnation: life(2) });
  expect(await former).toMatchObject({ errno: 'ESTALE' });
  expect(await ended(client.call(echo, 'say', 1, { n: 2 }))).toMatchObject({ ok: true });
  expect(server.runs).toHaveLength(1);
});

test('ICS: nodedown drops what a dead caller had queued and aborts what runs', async () => {
  const server = held({ inWorkMax: 1 });
  server.ics.setView(viewOf(1, [1, 'UP', 1], [2, 'UP', 1]), { num: 1, incarnation: life(1) });
  const client = endpoint(2, 'vproc');
  client.setView(viewOf(1, [1, 'UP', 1], [2, 'UP', 1]), { num: 2, incarnation: life(1) });
  const calls = [1, 2, 3].map((n) => client.call(echo, 'slow', 1, { n }));
  await run(50);
  expect(server.runs.map((r) => r.n)).toEqual([1]);
  const signal = server.runs[0]?.call.signal;
  server.ics.setView(viewOf(2, [1, 'UP', 1], [2, 'DOWN', 1]));
  expect(signal?.aborted).toBe(true);
  server.release();
  // Its repetitions are refused.
  const replies = await ended(Promise.all(calls));
  expect(replies.map((r) => !r.ok && r.errno)).toEqual(['ESTALE', 'ESTALE', 'ESTALE']);
  expect(server.runs.map((r) => r.n)).toEqual([1]);
});

test('ICS: replies are kept until the caller has them, also behind a long poll', async () => {
  const server = held();
  const client = endpoint(0, 'cli');
  const watch = client.call(echo, 'watch', 1, { n: 0 });
  for (let n = 1; n <= 300; n++)
    expect(await ended(client.call(echo, 'say', 1, { n }), 2)).toMatchObject({ ok: true });
  // The long poll, and the last call, of which the server cannot know yet.
  expect(server.ics.counters().replies).toBe(2);
  server.release();
  await run(1_000);
  expect(await watch).toMatchObject({ ok: true });
  expect(server.ics.counters().replies).toBe(0);
});

test('ICS: EAGAIN: the reply cache is full; what is in it is still answered', async () => {
  const server = endpoint(1, 'echo');
  const big = 'x'.repeat(500_000);
  const huge = { n: 1, size: 0, more: big };
  server.serve(echo, { say: () => ok(huge) });
  const client = endpoint(0, 'cli');
  expect(await ended(client.call(echo, 'say', 1, { n: 0 }), 10)).toMatchObject({ ok: true });
  // From here no frame of the server arrives, so nothing it keeps can be forgotten.
  net.deaf.add('memory:0-cli');
  const calls = Array.from({ length: 200 }, (_, n) => client.call(echo, 'say', 1, { n }));
  await run(1_000);
  expect(server.counters().throttled).toBeGreaterThan(0);
  net.deaf.clear();
  const replies = await ended(Promise.all(calls));
  const kept = replies.filter((r) => r.ok).length;
  expect(kept).toBeGreaterThan(100);
  expect(replies.filter((r) => !r.ok && r.errno === 'EAGAIN')).toHaveLength(200 - kept);
  expect(await ended(client.call(echo, 'say', 1, { n: 1 }))).toMatchObject({ ok: true });
});

test('ICS: an errno of the operation comes through, with the node to ask instead', async () => {
  const server = endpoint(1, 'echo');
  server.serve(echo, { say: () => fail('ENOENT', 'not here', 3) });
  const client = endpoint(0, 'cli');
  expect(await ended(client.call(echo, 'say', 1, { n: 1 }))).toEqual({
    ok: false,
    errno: 'ENOENT',
    detail: 'not here',
    node: 3,
  });
});

test('ICS: a message waits for room and for its server, and is there once', async () => {
  const client = endpoint(0, 'cli');
  for (let n = 0; n < 5; n++) client.send(echo, 'tell', 1, { n });
  await run(3_000);
  const told: number[] = [];
  const server = endpoint(1, 'echo');
  server.serve(
    echo,
    {
      tell: ({ n }) =>
        new Promise((done) => {
          told.push(n);
          clock.after(50, () => done(ok()));
        }),
    },
    { inWorkMax: 1, queueMax: 1 },
  );
  await run(20_000);
  expect(told).toEqual([0, 1, 2, 3, 4]);
});

test('ICS: a message whose server stays away is given up after 30 s, and not delivered then', async () => {
  const client = endpoint(0, 'cli');
  const pending = (): number => client.peers().reduce((n, p) => n + p.pending, 0);
  client.send(echo, 'tell', 1, { n: 1 });
  await run(29_900);
  expect(pending()).toBe(1);
  await run(200);
  expect(pending()).toBe(0);
  const told: number[] = [];
  const server = endpoint(1, 'echo');
  server.serve(echo, {
    tell: ({ n }) => {
      told.push(n);
      return ok();
    },
  });
  client.send(echo, 'tell', 1, { n: 2 });
  await run(5_000);
  expect(told).toEqual([2]);
});
