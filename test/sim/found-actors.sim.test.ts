// What seeds have found about actors, as short scenarios of their own: each failed before it was mended.
import assert from 'node:assert/strict';
import { vproc } from '@ssi/contracts';
import { expect, test } from 'vitest';
import { formed, type Scene } from './scene.ts';
import { tally } from './tally-actor.ts';

const actor = { type: tally.type, input: {}, uid: 0 };

async function spawned(scene: Scene, node: number): Promise<number> {
  const reply = await scene.answer(scene.client.call(vproc, 'actorSpawn', node, actor));
  assert(reply.ok);
  return reply.value.pid;
}

const hosted = (scene: Scene, node: number): number[] =>
  (scene.cluster.node(node).actorHost?.actors() ?? []).map((a) => a.pid);

test('vproc: an actor that cannot be put on record is not started', async () => {
  const scene = await formed(11);
  const node = scene.cluster.node(1);
  node.machine.failing.set('actorRecords.write', 1);
  const reply = await scene.answer(scene.client.call(vproc, 'actorSpawn', 1, actor));
  expect(reply.ok ? 'ok' : reply.errno).toBe('EIO');
  expect(hosted(scene, 1)).toEqual([]);
  const pid = await spawned(scene, 1);
  node.killService('vproc', 'the test');
  await scene.pass(5_000);
  expect(hosted(scene, 1)).toEqual([pid]);
});

test('vproc: an actor that a new host starts before it has told of itself stays', async () => {
  const scene = await formed(12);
  const node = scene.cluster.node(1);
  await spawned(scene, 1);
  node.killService('actor', 'the test');
  const pids: number[] = [];
  // Asked all the time: one of them comes between the start of the host and its first word.
  for (let i = 0; i < 300; i++) {
    void scene.client.call(vproc, 'actorSpawn', 1, actor).then((r) => {
      if (r.ok) pids.push(r.value.pid);
    });
    await scene.pass(5);
  }
  await scene.pass(5_000);
  expect(pids.length).toBeGreaterThan(0);
  expect(hosted(scene, 1).sort()).toEqual(pids.sort());
});

test('vproc: an actor that ended is not born again by a restart: its number is free for others', async () => {
  const scene = await formed(13);
  // A later boot count than that of the node the actor was born on.
  scene.cluster.node(1).kill('the test');
  await scene.pass(3_000);
  scene.cluster.node(1).start();
  await scene.pass(5_000);
  const pid = await spawned(scene, 2);
  const moved = scene.client.call(vproc, 'migrate', 2, { pid, to: 1, uid: 0 });
  assert((await scene.answer(moved)).ok);
  const where = async () => scene.answer(scene.client.call(vproc, 'where', 2, { pid }));
  const before = await where();
  await scene.answer(scene.client.call(vproc, 'signal', 2, { pid, signal: 15, uid: 0 }));
  await scene.pass(500);
  scene.cluster.node(1).killService('vproc', 'the test');
  await scene.pass(4_000);
  const after = await where();
  assert(before.ok && after.ok);
  expect(after.value.entry).toMatchObject({ phase: 'exited', born: before.value.entry.born });
});

test('vproc: a scan that sees an actor before its start is on record: its origin follows its moves', async () => {
  const scene = await formed(14);
  const moves = [];
  // At all distances from the next scan.
  for (let i = 0; i < 30; i++) {
    const pid = await spawned(scene, 1);
    const request = { pid, to: 2, uid: 0 };
    moves.push({ pid, reply: await scene.answer(scene.client.call(vproc, 'migrate', 1, request)) });
  }
  await scene.pass(1_000);
  for (const { pid, reply } of moves) {
    assert(reply.ok);
    const where = await scene.answer(scene.client.call(vproc, 'where', 1, { pid }));
    expect(where.ok && where.value.entry.node).toBe(2);
  }
});
