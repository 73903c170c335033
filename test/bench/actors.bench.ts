// How long an actor's move takes on the memory transport, and how many asks a second one handle does:
// `node test/bench/actors.bench.ts`. CPU time is told too, since it does not depend on who else runs.
import { createEmbeddedCluster } from '@ssi/cli';
import { notes } from '../programs/notes-actor.ts';

const moves = 300;
const asks = 20_000;

const cluster = await createEmbeddedCluster({ nodes: 3, sample: 0 });
const { ssi } = cluster;
const must = <T>(
  reply: { ok: true; value: T } | { ok: false; errno: string; detail: string },
): T => {
  if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
  return reply.value;
};
must(await cluster.up(20_000));
for (const node of [1, 2, 3])
  must(await ssi.host({ node, actors: [notes], effects: { notes: {} } }));
// vproc hears of the hosts within one announcement.
let started = await ssi.spawn(notes, { node: 1 });
for (let i = 0; !started.ok && i < 100; i++) {
  await new Promise((done) => setTimeout(done, 50));
  started = await ssi.spawn(notes, { node: 1 });
}
const ref = must(started);
const at = (list: number[], q: number): string =>
  (list.toSorted((a, b) => a - b)[Math.floor(list.length * q)] ?? 0).toFixed(2);

const took: number[] = [];
const froze: number[] = [];
const cpu = process.cpuUsage();
for (let i = 0; i < moves; i++) {
  const before = performance.now();
  froze.push(must(await ssi.migrate(ref.pid, [2, 3, 1][i % 3] ?? 1)).freezeMs);
  took.push(performance.now() - before);
}
const used = process.cpuUsage(cpu);
console.log(
  `move: ms p50 ${at(took, 0.5)} p99 ${at(took, 0.99)}; frozen ms p50 ${at(froze, 0.5)} ` +
    `p99 ${at(froze, 0.99)}; CPU ${((used.user + used.system) / 1_000 / moves).toFixed(2)} ms each`,
);

const before = performance.now();
const replies = await Promise.all(
  Array.from({ length: asks }, (_, n) => ssi.ask(ref, { type: 'count', name: 'a', n })),
);
const wrong = replies.filter((r, n) => !r.ok || r.value !== n).length;
const seconds = (performance.now() - before) / 1_000;
console.log(`ask: ${(asks / seconds).toFixed(0)} a second, ${wrong} wrong`);
await cluster.close();
