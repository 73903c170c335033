// What seeds have found, as short scenarios of their own: each failed before it was mended.
import assert from 'node:assert/strict';
import { type Reply, vproc } from '@ssi/contracts';
import { createIcs, type IcsEndpoint } from '@ssi/ics';
import { goodLink } from '@ssi/sim';
import { expect, test } from 'vitest';
import { CopiesChecker } from './checkers/copies.ts';
import { unsettled } from './checkers/settled.ts';
import { ViewsChecker } from './checkers/views.ts';
import { SimCluster } from './cluster.ts';
import { World } from './world.ts';

interface Scene {
  readonly world: World;
  readonly cluster: SimCluster;
  readonly client: IcsEndpoint;
  /** Lets time pass. */
  pass(ms: number): Promise<void>;
  /** Lets time pass until the answer is there. */
  answer<T>(call: Promise<Reply<T>>): Promise<Reply<T>>;
  atRest(): string | undefined;
}

async function formed(seed: number): Promise<Scene> {
  const world = new World(seed);
  const cluster = new SimCluster({ world, nodes: 3 });
  const views = new ViewsChecker(cluster);
  const copies = new CopiesChecker(cluster);
  world.clock.afterEach = () => {
    views.afterEach();
    copies.afterEach();
  };
  const self = { node: 0, service: 'c1' };
  const life = cluster.clientLife('c1');
  const transports = [world.bus.transport(self, 0, life)];
  const client = createIcs({
    ...self,
    clock: life.clock,
    random: world.random('c1'),
    transports,
  });
  const pass = (ms: number): Promise<void> => world.clock.run(world.clock.nowMs() + ms);
  const scene: Scene = {
    world,
    cluster,
    client,
    pass,
    async answer(call) {
      let reply: Awaited<typeof call> | undefined;
      void call.then((r) => {
        reply = r;
      });
      for (let i = 0; i < 1_000 && !reply; i++) await pass(20);
      assert(reply, 'no answer in 20 s');
      return reply;
    },
    atRest: () => unsettled(cluster, views),
  };
  cluster.start();
  await pass(3_000);
  assert.equal(scene.atRest(), undefined);
  return scene;
}

const program = { argv: ['count', 't1'], env: {}, cwd: '/', uid: 0, gid: 0 };

async function started(scene: Scene, node: number): Promise<number> {
  const reply = await scene.answer(scene.client.call(vproc, 'run', node, program));
  assert(reply.ok);
  return reply.value.pid;
}

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
