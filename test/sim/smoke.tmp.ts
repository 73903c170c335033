import { SimCluster } from './cluster.ts';
import { World } from './world.ts';

const t0 = performance.now();
const world = new World(Number(process.argv[2] ?? 1), { trace: true });
const cluster = new SimCluster({ world, nodes: 3 });
cluster.start();
await world.clock.run(Number(process.argv[3] ?? 5000));
console.log(
  world.journal
    .lines()
    .slice(0, Number(process.argv[4] ?? 200))
    .map((l) => l.slice(0, 220))
    .join('\n'),
);
console.log(world.hash(), performance.now() - t0, 'ms');
console.log(
  cluster.nodes.map(
    (n) =>
      JSON.stringify(n.membership?.state.view?.members.map((m) => [m.num, m.state])) +
      n.membership?.lifeState(),
  ),
);
process.exit(0);
