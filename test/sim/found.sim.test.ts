// What seeds have found, as short scenarios of their own: each failed before it was mended.
import assert from 'node:assert/strict';
import { vproc } from '@ssi/contracts';
import { goodLink } from '@ssi/sim';
import { expect, test } from 'vitest';
import { formed, program, started } from './scene.ts';

test('vproc: two moves of one process asked for at once: one is EBUSY, one copy runs', async () => {
  const scene = await formed(1);
  const pid = await started(scene, 2);
  const moves = [1, 3].map((to) => scene.client.call(vproc, 'migrate', 2, { pid, to, uid: 0 }));
  const replies = [];
  for (const move of moves) replies.push(await scene.answer(move));
  expect(replies.map((r) => (r.ok ? 'ok' : r.errno)).sort()).toEqual(['EBUSY', 'ok']);
  await scene.pass(1_000);
  assert.equal(scene.atRest(), undefined);
});

test('CLMS: a node that was cut off and excluded comes back as a new life', async () => {
  const scene = await formed(2);
  const { net } = scene.world;
  for (const other of [1, 2, -1]) {
    net.setLink(3, other, 'cut');
    net.setLink(other, 3, 'cut');
  }
  await scene.pass(5_000);
  assert.notEqual(scene.atRest(), undefined);
  net.heal();
  await scene.pass(5_000);
  assert.equal(scene.atRest(), undefined);
  assert.equal(scene.cluster.node(3).life?.bootCount, 2);
});

test('vproc: killed right after it spawned a program, it knows the program again; nobody ends it', async () => {
  const scene = await formed(3);
  const node = scene.cluster.node(1);
  node.failpoints.set('run.spawned', 'service');
  const lost = await scene.answer(
    scene.client.call(vproc, 'run', 1, program, { timeoutMs: 1_000 }),
  );
  assert.equal(lost.ok, false);
  await scene.pass(4_000);
  const [p] = node.machine.processes.values();
  assert(p, 'the program is gone');
  const where = await scene.answer(scene.client.call(vproc, 'where', 1, { pid: p.pid }));
  assert(where.ok && where.value.entry.node === 1);
  assert.equal(scene.atRest(), undefined);
});

test('vproc: a child forked between negotiation and freeze moves with its parent, as itself', async () => {
  const scene = await formed(4);
  const node = scene.cluster.node(1);
  const pid = await started(scene, 1);
  // Slow enough that the fork falls between the two.
  scene.world.net.setQuality(1, 2, { ...goodLink, delayMs: [60, 61] });
  const move = scene.client.call(vproc, 'migrate', 1, { pid, to: 2, uid: 0 });
  const reserved = scene.cluster.node(2).machine.images;
  for (let i = 0; i < 200 && reserved.size === 0; i++) await scene.pass(2);
  const child = node.machine.fork(pid);
  assert(child && node.machine.processes.get(pid)?.state === 'running', 'frozen too early');
  assert((await scene.answer(move)).ok);
  scene.world.net.heal();
  await scene.pass(2_000);
  assert.equal(scene.cluster.node(2).machine.processes.get(child.pid)?.ppid, pid);
  const where = await scene.answer(scene.client.call(vproc, 'where', 1, { pid: child.pid }));
  assert(where.ok);
  expect(where.value.entry).toMatchObject({ node: 2, hop: 1, phase: 'live' });
});

test('vproc: the record of a move that is over cannot be removed at once: a restart ends nobody who came back', async () => {
  const scene = await formed(5);
  const node = scene.cluster.node(2);
  const pid = await started(scene, 2);
  node.machine.failing.set('records.remove', 1);
  const moved = scene.client.call(vproc, 'migrate', 2, { pid, to: 1, uid: 0 });
  assert((await scene.answer(moved)).ok);
  const back = scene.client.call(vproc, 'migrate', 1, { pid, to: 2, uid: 0 });
  assert((await scene.answer(back)).ok);
  node.killService('vproc', 'the test');
  await scene.pass(3_000);
  expect(node.machine.processes.get(pid)?.state).toBe('running');
  assert.equal(scene.atRest(), undefined);
});

test('vproc: killed when a move is committed, it does not pass over the next user of the number', async () => {
  const scene = await formed(6);
  const node = scene.cluster.node(1);
  const pid = await started(scene, 1);
  node.failpoints.set('move.source.committed', 'service');
  void scene.client.call(vproc, 'migrate', 1, { pid, to: 3, uid: 0 });
  await scene.pass(3_000);
  scene.cluster.node(3).machine.signal(pid, 9);
  await scene.pass(500);
  node.machine.start({ pid, command: 'another' });
  await scene.pass(500);
  const where = await scene.answer(scene.client.call(vproc, 'where', 1, { pid }));
  assert(where.ok);
  expect(where.value.entry).toMatchObject({ node: 1, phase: 'live' });
});

test('vproc: rexec: what the program forked since it was looked at is not killed with it', async () => {
  const scene = await formed(7);
  const node = scene.cluster.node(1);
  const pid = await started(scene, 1);
  scene.world.net.setQuality(1, 2, { ...goodLink, delayMs: [60, 61] });
  const request = { pid, to: 2, argv: ['count', 'again'], env: {}, uid: 0 };
  const replaced = scene.client.call(vproc, 'rexec', 1, request);
  const reserved = scene.cluster.node(2).machine.images;
  for (let i = 0; i < 200 && reserved.size === 0; i++) await scene.pass(2);
  const child = node.machine.fork(pid);
  assert(child && node.machine.processes.get(pid)?.state === 'running', 'halted too early');
  const reply = await scene.answer(replaced);
  expect(reply.ok ? 'ok' : reply.errno).toBe('ECANCELED');
  scene.world.net.heal();
  await scene.pass(2_000);
  expect([...node.machine.processes.keys()]).toEqual([pid, child.pid]);
  assert.equal(scene.atRest(), undefined);
});

test('vproc: an orphan that was made since the tree was looked at keeps the streams: nothing moves', async () => {
  const scene = await formed(8);
  const node = scene.cluster.node(1);
  const pid = await started(scene, 1);
  const child = node.machine.fork(pid);
  await scene.pass(500);
  scene.world.net.setQuality(1, 2, { ...goodLink, delayMs: [60, 61] });
  const move = scene.client.call(vproc, 'migrate', 1, { pid, to: 2, uid: 0 });
  const reserved = scene.cluster.node(2).machine.images;
  for (let i = 0; i < 200 && reserved.size === 0; i++) await scene.pass(2);
  assert(child && node.machine.processes.get(pid)?.state === 'running', 'frozen too early');
  const orphan = node.machine.fork(child.pid);
  node.machine.exit(child.pid, 0);
  assert(orphan);
  const reply = await scene.answer(move);
  expect(reply.ok ? 'ok' : reply.errno).toBe('ECANCELED');
  scene.world.net.heal();
  await scene.pass(2_000);
  expect([...node.machine.processes.keys()]).toEqual([pid, orphan.pid]);
  assert.equal(scene.atRest(), undefined);
});
