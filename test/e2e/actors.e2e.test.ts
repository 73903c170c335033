// Actors between real processes over a real bus: a thousand asks a second while the actor moves two
// hundred times and services of its nodes are killed, and nothing is lost, doubled or out of order.
import type { ActorRef, Ssi } from '@ssi/client';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type PlainNodes, type PlainProcess, startPlainNodes } from '../harness/plain-nodes.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { type Notes, notes } from '../programs/notes-actor.ts';

let nodes: PlainNodes;
beforeAll(async () => {
  nodes = await startPlainNodes(3);
}, 90_000);
afterAll(() => nodes?.stop());

type Ref = ActorRef<typeof notes>;

async function spawn(node: number): Promise<Ref> {
  const started = await waitUntil(
    `node ${node} takes an actor`,
    async () => {
      const reply = await nodes.ssi.spawn(notes, { node });
      return reply.ok && reply.value;
    },
    20_000,
    nodes.describe,
  );
  return started as Ref;
}
async function tell(ref: Ref): Promise<Notes> {
  const reply = await nodes.ssi.ask(ref, { type: 'tell' }, { timeoutMs: 30_000 });
  if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}\n${nodes.describe()}`);
  return reply.value as Notes;
}

const askers = new Set<() => void>();
afterEach(() => {
  for (const stop of askers) stop();
  askers.clear();
});

/** Asks at a steady rate until told to stop; gives what was sent and what came back. */
function asker(ssi: Ssi, ref: Ref, name: string, perSecond: number) {
  const replies: Promise<unknown>[] = [];
  let sent = 0;
  const startMs = performance.now();
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startMs) / 1_000) * perSecond);
    while (sent < due) {
      const event = { type: 'count' as const, name, n: sent++ };
      replies.push(
        ssi
          .ask(ref, event, { timeoutMs: 60_000 })
          .then((r) => (r.ok ? r.value : `${r.errno} ${r.detail}`)),
      );
    }
  }, 5);
  askers.add(() => clearInterval(timer));
  return async () => {
    clearInterval(timer);
    return {
      name,
      sent,
      seconds: (performance.now() - startMs) / 1_000,
      answers: await Promise.all(replies),
    };
  };
}

async function moveTo(ref: Ref, to: number): Promise<{ freezeMs: number }> {
  const moved = await waitUntil(
    `${ref.pid} moves to node ${to}`,
    async () => {
      const reply = await nodes.ssi.migrate(ref.pid, to);
      if (reply.ok) return reply.value;
      // An answer that was lost with a killed service: it may have moved all the same.
      const where = await nodes.ssi.where(ref.pid);
      return where.ok && where.value.node === to && { freezeMs: 0 };
    },
    60_000,
    nodes.describe,
  );
  return moved;
}

/** Each number came once and in its turn, and each answer is that of its own number. */
async function check(
  ref: Ref,
  results: readonly { name: string; sent: number; answers: unknown[] }[],
) {
  const told = await tell(ref);
  expect(told.wrong).toBe(0);
  for (const { name, sent, answers } of results) {
    expect(told.due[name]).toBe(sent);
    expect(answers).toEqual(answers.map((_, n) => n));
  }
}

const at = (list: number[], q: number): string =>
  (list.toSorted((x, y) => x - y)[Math.floor(list.length * q)] ?? 0).toFixed(1);

test('actors e2e: 1,000 asks a second while it moves 200 times: none lost or doubled, in order', async () => {
  const ref = await spawn(1);
  const clients = [nodes.ssi, await nodes.client()];
  const stops = clients.map((ssi, i) => asker(ssi, ref, 'ab'[i] ?? '', 500));
  const took: number[] = [];
  const froze: number[] = [];
  const startMs = performance.now();
  // Spread over the time in which the asks are sent: 200 moves in ten seconds or more.
  for (let i = 0; i < 200; i++) {
    const before = performance.now();
    const { freezeMs } = await moveTo(ref, [2, 3, 1][i % 3] ?? 1);
    took.push(performance.now() - before);
    froze.push(freezeMs);
    const dueMs = startMs + (i + 1) * 50;
    if (performance.now() < dueMs)
      await new Promise((done) => setTimeout(done, dueMs - performance.now()));
  }
  const results = await Promise.all(stops.map((stop) => stop()));
  await check(ref, results);
  const sent = results.reduce((sum, r) => sum + r.sent, 0);
  const rate = sent / (results[0]?.seconds ?? 1);
  console.log(
    `${sent} asks, ${rate.toFixed(0)}/s; move ms p50 ${at(took, 0.5)} p99 ${at(took, 0.99)}; ` +
      `frozen ms p50 ${at(froze, 0.5)} p99 ${at(froze, 0.99)}`,
  );
}, 300_000);

test('actors e2e: an idle actor moves sixty times; how long that takes', async () => {
  const ref = await spawn(1);
  const took: number[] = [];
  const froze: number[] = [];
  for (let i = 0; i < 60; i++) {
    const before = performance.now();
    froze.push((await moveTo(ref, [2, 3, 1][i % 3] ?? 1)).freezeMs);
    took.push(performance.now() - before);
  }
  console.log(
    `idle: move ms p50 ${at(took, 0.5)} p99 ${at(took, 0.99)}; ` +
      `frozen ms p50 ${at(froze, 0.5)} p99 ${at(froze, 0.99)}`,
  );
  expect((await tell(ref)).wrong).toBe(0);
}, 120_000);

test('actors e2e: vproc, router and membership killed -9 meanwhile: hosts register again, nothing is lost', async () => {
  const ref = await spawn(1);
  const stop = asker(nodes.ssi, ref, 'a', 200);
  const deaths: [number, PlainProcess][] = [
    [1, 'vproc'],
    [2, 'ics-router'],
    [2, 'vproc'],
    [3, 'membership'],
    [3, 'vproc'],
  ];
  let to = 1;
  for (const [num, name] of deaths) {
    to = (to % 3) + 1;
    const moving = moveTo(ref, to);
    await nodes.kill(num, name);
    nodes.start(num, name);
    await moving;
    to = (to % 3) + 1;
    await moveTo(ref, to);
  }
  await check(ref, [await stop()]);
  const ps = await nodes.ssi.ps();
  expect(ps.ok && ps.value.processes.filter((p) => p.pid === ref.pid)).toMatchObject([
    { kind: 'actor', node: to },
  ]);
}, 180_000);

test('actors e2e: a timer that runs while it moves rings once, after the time it had left', async () => {
  const ref = await spawn(1);
  const startMs = performance.now();
  expect(await nodes.ssi.send(ref, { type: 'ring', afterMs: 3_000 })).toMatchObject({ ok: true });
  for (const to of [2, 3, 2]) await moveTo(ref, to);
  expect((await tell(ref)).rang).toBe(0);
  await waitUntil('it rings', async () => (await tell(ref)).rang === 1, 30_000, nodes.describe);
  expect(performance.now() - startMs).toBeGreaterThanOrEqual(3_000);
}, 60_000);

test('actors e2e: rfork: another one goes on from the same state elsewhere, timers too', async () => {
  const { ssi } = nodes;
  const value = <T>(reply: { ok: true; value: T } | { ok: false; errno: string }): T => {
    if (!reply.ok) throw new Error(`${JSON.stringify(reply)}\n${nodes.describe()}`);
    return reply.value;
  };
  const note = async (to: Ref, what: string) => value(await ssi.send(to, { type: 'note', what }));
  const ref = await spawn(1);
  await note(ref, 'before');
  value(await ssi.send(ref, { type: 'ring', afterMs: 2_000 }));
  const there = value(await ssi.rfork(ref, 2));
  const here = value(await ssi.rfork(ref, 1));
  expect(new Set([ref.pid, there.pid, here.pid]).size).toBe(3);
  expect(value(await ssi.where(there.pid))).toMatchObject({ node: 2, hop: 1, kind: 'actor' });
  expect(value(await ssi.where(here.pid))).toMatchObject({ node: 1, hop: 0 });
  const all = { parent: ref, there, here };
  for (const [name, each] of Object.entries(all)) await note(each, name);
  for (const [name, each] of Object.entries(all)) {
    expect((await tell(each)).seen).toEqual(['before', name]);
    await waitUntil(`${name} rings`, async () => (await tell(each)).rang, 20_000, nodes.describe);
  }
  await moveTo(there, 3);
  const grandchild = value(await ssi.rfork(there, 1));
  expect((await tell(grandchild)).seen).toEqual(['before', 'there']);
  expect(await ssi.rfork(ref, 9)).toMatchObject({ errno: 'EINVAL' });
  expect(await ssi.rfork({ ...ref, pid: 66_999 }, 2)).toMatchObject({ errno: 'ESRCH' });
  value(await ssi.kill(there.pid, 15));
  expect(value(await ssi.wait(there.pid))).toMatchObject({ signal: 'SIGTERM' });
  expect(await ssi.rfork(there, 2)).toMatchObject({ ok: false, errno: 'ESRCH' });
}, 60_000);

test('actors e2e: a host killed -9 ends its actors: wait tells SIGKILL', async () => {
  const ref = await spawn(3);
  const waited = nodes.ssi.wait(ref.pid, { timeoutMs: 40_000 });
  await nodes.kill(3, 'host');
  expect(await waited).toMatchObject({ ok: true, value: { pid: ref.pid, signal: 'SIGKILL' } });
  nodes.start(3, 'host');
  expect((await tell(await spawn(3))).seen).toEqual([]);
}, 60_000);
