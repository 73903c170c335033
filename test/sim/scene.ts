// A formed cluster without users or faults, for scenarios that do everything themselves.
import assert from 'node:assert/strict';
import { type Reply, vproc } from '@ssi/contracts';
import { createIcs, type IcsEndpoint } from '@ssi/ics';
import { Changes } from './checkers/changes.ts';
import { CopiesChecker } from './checkers/copies.ts';
import { unsettled } from './checkers/settled.ts';
import { ViewsChecker } from './checkers/views.ts';
import { SimCluster } from './cluster.ts';
import { World } from './world.ts';

export interface Scene {
  readonly world: World;
  readonly cluster: SimCluster;
  readonly client: IcsEndpoint;
  /** Lets time pass. */
  pass(ms: number): Promise<void>;
  /** Lets time pass until the answer is there. */
  answer<T>(call: Promise<Reply<T>>): Promise<Reply<T>>;
  atRest(): string | undefined;
}

export async function formed(seed: number): Promise<Scene> {
  const world = new World(seed);
  const cluster = new SimCluster({ world, nodes: 3 });
  const views = new ViewsChecker(cluster);
  const copies = new CopiesChecker(cluster);
  const changes = new Changes(cluster);
  world.clock.afterEach = () => {
    views.afterEach();
    if (changes.look()) copies.afterChange();
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

export const program = { argv: ['count', 't1'], env: {}, cwd: '/', uid: 0, gid: 0 };

export async function started(scene: Scene, node: number): Promise<number> {
  const reply = await scene.answer(scene.client.call(vproc, 'run', node, program));
  assert(reply.ok);
  return reply.value.pid;
}
