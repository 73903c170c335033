// npm run sim: runs seeds S, S+1, ... and says which fail; the first one is cut down to its shortest list
// of faults and shown with its transcript. `--seed S --trace` alone shows all of one run.
import { parseArgs } from 'node:util';
import { shownFault } from './faults.ts';
import { expected, isFound, plantedJob } from './planted.ts';
import { type PlantName, plants } from './plants.ts';
import { type Job, runAll } from './pool.ts';
import { scale, type Traffic } from './scale.ts';
import { shownShrunk, shrink } from './shrink.ts';
import type { RunResult } from './simulate.ts';

const { values } = parseArgs({
  options: {
    /** The first seed; default: another one each time. */
    seed: { type: 'string' },
    seeds: { type: 'string' },
    /** Of faults; forming and coming to rest come on top. */
    seconds: { type: 'string' },
    /** Threads. */
    jobs: { type: 'string' },
    /** Lines of the transcript of a failing run. */
    lines: { type: 'string' },
    trace: { type: 'boolean' },
    /** In how many of the seeds each planted bug is found. */
    planted: { type: 'boolean' },
    /** Of so many nodes: what membership sends, at rest and for each view. */
    nodes: { type: 'string' },
  },
});
const first = Number(values.seed ?? Math.floor(performance.timeOrigin % 1_000_000_000));
const count = Number(values.seeds ?? (values.planted ? 100 : 1));
const seconds = Number(values.seconds ?? 25);
const jobs = Number(values.jobs ?? 1);
const began = performance.now();
const tookS = (): string => ((performance.now() - began) / 1000).toFixed(1);

const failed = await (values.nodes ? growth() : values.planted ? findPlanted() : runSeeds());
process.exit(failed > 0 ? 1 : 0);

async function runSeeds(): Promise<number> {
  console.log(`seed ${first}, ${count} ${count === 1 ? 'run' : 'runs'} of ${seconds} s of faults`);
  const trace = values.trace ?? false;
  const total = new Map<string, number>();
  const failures: { job: Job; result: RunResult }[] = [];
  let simulatedMs = 0;
  let seed = first;
  await runAll(
    Math.min(jobs, count),
    () => (seed < first + count ? { seed: seed++, faultyMs: seconds * 1_000, trace } : undefined),
    (result, job) => {
      simulatedMs += result.simulatedMs;
      for (const [key, n] of result.tally) total.set(key, (total.get(key) ?? 0) + n);
      if (trace) for (const line of result.transcript) console.log(line);
      if (trace) console.log(`faults:\n${result.faults.map(shownFault).join('\n')}`);
      if (count === 1) console.log(`hash ${result.hash}`);
      if (result.failure === undefined) return;
      failures.push({ job, result });
      console.log(`seed ${job.seed} failed: ${result.failure}`);
    },
  );
  const [worst] = failures;
  if (worst && !trace)
    console.log(shownShrunk(await shrink(worst.job, worst.result), Number(values.lines ?? 80)));
  for (const [key, n] of [...total].sort(([a], [b]) => (a < b ? -1 : 1)))
    console.log(`  ${key}: ${n}`);
  const simulated = (simulatedMs / 1000).toFixed(0);
  const held = count - failures.length;
  console.log(`${held} held, ${failures.length} failed; ${simulated} s simulated in ${tookS()} s`);
  return failures.length;
}

/** A table: of each bug, in how many runs it was found, and by what. */
async function findPlanted(): Promise<number> {
  console.log(`seeds ${first} to ${first + count - 1}: a bug, found in, first seed, found by`);
  const found = new Map<PlantName, number[]>();
  const by = new Map<PlantName, Set<string>>();
  const todo = (Object.keys(plants) as PlantName[]).flatMap((plant) =>
    Array.from({ length: count }, (_, i) => plantedJob(plant, first + i)),
  );
  await runAll(
    jobs,
    () => todo.shift(),
    (result, { plant, seed }) => {
      if (!plant || !isFound(plant, result)) return;
      found.set(plant, [...(found.get(plant) ?? []), seed]);
      by.set(plant, (by.get(plant) ?? new Set()).add(result.checker ?? ''));
    },
  );
  for (const plant of Object.keys(plants) as PlantName[]) {
    const seeds = found.get(plant) ?? [];
    const at = seeds.length > 0 ? Math.min(...seeds) : 'none';
    const made = expected[plant].faults ? ' (faults made for it)' : '';
    const checkers = [...(by.get(plant) ?? [])].join(', ');
    console.log(`| ${plants[plant].name}${made} | ${seeds.length} | ${at} | ${checkers} |`);
  }
  console.log(`in ${tookS()} s`);
  return Object.keys(plants).length - found.size;
}

/** A table: what nodes send as they become more, `--nodes 10,100,1000`. */
async function growth(): Promise<number> {
  const shown = (t: Traffic): string => `${t.messages.toFixed(1)} | ${Math.round(t.bytes)}`;
  console.log('nodes | a node, per s: messages | bytes | the master, per s: messages | bytes');
  console.log('  | a node, per view: messages | bytes | views of a death | DOWN after, ms');
  for (const nodes of (values.nodes ?? '').split(',').map(Number)) {
    const r = await scale(nodes);
    const { rest, master, change } = r;
    console.log(
      `| ${nodes} | ${[rest, master, change].map(shown).join(' | ')} | ${r.views} | ${r.downMs.toFixed(0)} |`,
    );
  }
  console.log(`in ${tookS()} s`);
  return 0;
}
