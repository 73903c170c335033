// Cuts a failing run down: the shortest list of faults, and the least work, with which the same checker
// still fails. [delta debugging, Zeller: ddmin, then one by one until no single fault can go]
import { type Fault, shownFault } from './faults.ts';
import { type Job, run } from './pool.ts';
import type { RunResult } from './simulate.ts';

export interface Shrunk {
  readonly job: Job;
  readonly result: RunResult;
  /** Runs that it took. */
  readonly runs: number;
}

/** Faults are not made shorter than this, ms. */
const shortestMs = 100;

/** `failed` is the result of `job`, with a failure. At most `runsMax` runs more. */
export async function shrink(job: Job, failed: RunResult, runsMax = 300): Promise<Shrunk> {
  let runs = 0;
  let best: Job = { ...job, faults: failed.faults };
  let result = failed;

  /** Takes over what still fails alike. */
  const holds = async (next: Job): Promise<boolean> => {
    if (runs >= runsMax) return false;
    runs++;
    const tried = await run(next);
    if (tried.checker !== failed.checker) return false;
    best = next;
    result = tried;
    return true;
  };
  const faults = (): readonly Fault[] => best.faults ?? [];

  await holds({ ...best, faults: faults().filter((f) => f.atMs <= result.simulatedMs) });
  for (let parts = 2; faults().length > 0; ) {
    const size = Math.ceil(faults().length / parts);
    let less = false;
    for (let at = 0; at < faults().length; ) {
      const rest = faults().filter((_, i) => i < at || i >= at + size);
      if (await holds({ ...best, faults: rest })) less = true;
      else at += size;
    }
    if (size === 1 && !less) break;
    if (!less || size > 1) parts = Math.min(2 * parts, Math.max(1, faults().length));
  }
  await holds({ ...best, actors: false });
  await holds({ ...best, clients: 1 });
  for (let i = 0; i < faults().length; i++)
    for (;;) {
      const fault = faults()[i];
      if (!fault || fault.forMs < 2 * shortestMs) break;
      const forMs = Math.round(fault.forMs / 2);
      const shorter = faults().map((f, at) => (at === i ? { ...f, forMs } : f));
      if (!(await holds({ ...best, faults: shorter }))) break;
    }
  return { job: best, result, runs };
}

/** For people: the faults, what happened last, and a scenario for found.sim.test.ts. */
export function shownShrunk({ job, result, runs }: Shrunk, lines: number): string {
  const { trace: _, faults = [], ...options } = job;
  const title = (result.failure ?? '').split('\n')[0] ?? '';
  return [
    `shrunk in ${runs} runs to ${faults.length} faults:`,
    ...faults.map((f) => `  ${shownFault(f)}`),
    ...result.transcript.slice(-lines),
    '',
    `test(${JSON.stringify(title)}, async () => {`,
    '  const { failure } = await run({',
    ...Object.entries(options)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => `    ${key}: ${JSON.stringify(value)},`),
    '    faults: [',
    ...faults.map((f) => `      ${JSON.stringify(f)},`),
    '    ],',
    '  });',
    '  assert.equal(failure, undefined);',
    '});',
  ].join('\n');
}
