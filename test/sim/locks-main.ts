// Runs the lock manager's simulation from the command line: `npm run sim:locks -- SEED SEEDS [LINES]`, with
// so many lines of transcript for each seed that fails.
import { simulateLocks } from './locks.ts';

const [first = 1, seeds = 1, lines = 0] = process.argv.slice(2).map(Number);
let failed = 0;
for (let seed = first; seed < first + seeds; seed++) {
  const { failure, transcript } = await simulateLocks({ seed });
  if (failure === undefined) continue;
  failed++;
  console.log(`seed ${seed}: ${failure}`);
  if (lines > 0) console.log(transcript.slice(-lines).join('\n'));
}
console.log(`${seeds - failed} held, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
