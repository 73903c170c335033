// npm run sim -- [--seeds N] [--seed S] [--seconds T] [--trace]: runs seeds S, S+1, ... and says which
// fail, with the transcript of the first. `--seed S --trace` alone shows all of one run.
import { parseArgs } from 'node:util';
import { shownFault } from './faults.ts';
import { simulate } from './simulate.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    seconds: { type: 'string' },
    nodes: { type: 'string' },
    lines: { type: 'string' },
    trace: { type: 'boolean' },
  },
});
const first = Number(values.seed ?? Math.floor(performance.timeOrigin % 1_000_000_000));
const count = Number(values.seeds ?? 1);
const seconds = Number(values.seconds ?? 25);
const linesMax = Number(values.lines ?? 200);
console.log(`seed ${first}, ${count} ${count === 1 ? 'run' : 'runs'} of ${seconds} s of faults`);

const began = performance.now();
let failed = 0;
let simulatedMs = 0;
const total = new Map<string, number>();
for (let seed = first; seed < first + count; seed++) {
  const trace = values.trace ?? false;
  const nodes = values.nodes ? { nodes: Number(values.nodes) } : {};
  const result = await simulate({ seed, faultyMs: seconds * 1_000, trace, ...nodes });
  simulatedMs += result.simulatedMs;
  for (const [key, n] of result.tally) total.set(key, (total.get(key) ?? 0) + n);
  if (result.failure !== undefined) {
    failed++;
    console.log(`seed ${seed} failed: ${result.failure}`);
  }
  if (trace || (result.failure !== undefined && failed === 1)) {
    const lines = trace ? result.transcript : result.transcript.slice(-linesMax);
    for (const line of lines) console.log(line);
    console.log(`faults:\n${result.faults.map((f) => `  ${shownFault(f)}`).join('\n')}`);
  }
  if (count === 1) console.log(`hash ${result.hash}`);
}
for (const [key, n] of [...total].sort(([a], [b]) => (a < b ? -1 : 1)))
  console.log(`  ${key}: ${n}`);
const tookS = (performance.now() - began) / 1000;
console.log(
  `${count - failed} held, ${failed} failed; ${(simulatedMs / 1000).toFixed(0)} s simulated in ${tookS.toFixed(1)} s`,
);
process.exit(failed > 0 ? 1 : 0);
