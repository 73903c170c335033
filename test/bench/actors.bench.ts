// How long an actor's move takes on the memory transport, and how many asks a second one handle does.
// CPU time is told too, since it does not depend on who else runs.
import { createEmbeddedCluster } from '@ssi/cli';
import { waitUntil } from '../harness/wait-until.ts';
import { notes } from '../programs/notes-actor.ts';
import { type Bench, quantile, type Row } from './report.ts';

const must = <T>(
  reply: { ok: true; value: T } | { ok: false; errno: string; detail: string },
): T => {
  if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
  return reply.value;
};

async function run({ quick }: { quick: boolean }): Promise<Row[]> {
  const moves = quick ? 50 : 300;
  const asks = quick ? 2_000 : 20_000;
  const cluster = await createEmbeddedCluster({ nodes: 3, sample: 0 });
  try {
    const { ssi } = cluster;
    must(await cluster.up(20_000));
    for (const node of [1, 2, 3])
      must(await ssi.host({ node, actors: [notes], effects: { notes: {} } }));
    // vproc hears of the hosts within one announcement.
    const ref = await waitUntil(
      'an actor starts',
      async () => {
        const started = await ssi.spawn(notes, { node: 1 });
        return started.ok && started.value;
      },
      5_000,
    );

    const took: number[] = [];
    const froze: number[] = [];
    const cpu = process.cpuUsage();
    for (let i = 0; i < moves; i++) {
      const before = performance.now();
      froze.push(must(await ssi.migrate(ref.pid, [2, 3, 1][i % 3] ?? 1)).freezeMs);
      took.push(performance.now() - before);
    }
    const used = process.cpuUsage(cpu);
    const p50 = quantile(took, 0.5);

    const before = performance.now();
    const replies = await Promise.all(
      Array.from({ length: asks }, (_, n) => ssi.ask(ref, { type: 'count', name: 'a', n })),
    );
    const wrong = replies.filter((r, n) => !r.ok || r.value !== n).length;
    const seconds = (performance.now() - before) / 1_000;
    return [
      { name: 'move p50', value: p50, unit: 'ms', target: '<= 5 ms', met: p50 <= 5 },
      { name: 'move p99', value: quantile(took, 0.99), unit: 'ms' },
      { name: 'frozen p50', value: quantile(froze, 0.5), unit: 'ms' },
      { name: 'frozen p99', value: quantile(froze, 0.99), unit: 'ms' },
      { name: 'move, CPU', value: (used.user + used.system) / 1_000 / moves, unit: 'ms' },
      { name: 'asks', value: asks / seconds, unit: 'per s' },
      { name: 'asks, wrong', value: wrong, unit: '', target: '0', met: wrong === 0 },
    ];
  } finally {
    await cluster.close();
  }
}

export const bench: Bench = {
  name: 'actors',
  title: 'an actor moves between three nodes of one process; asks to one actor',
  run,
};
