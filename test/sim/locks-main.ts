// Runs the lock manager's simulation from the command line: `npm run sim:locks -- SEED SEEDS [LINES]`, with
// so many lines of transcript for each seed that fails; `npm run sim:locks -- plants [SEEDS]` says in how many of
// so many seeds (20) each planted bug is found. `npm run sim:locks -- more SEED SEEDS [LINES]`: with locks under locks and
// byte ranges.
import { lockPlants } from './lock-plants.ts';
import { simulateLocks } from './locks.ts';

const args = process.argv.slice(2);
if (args[0] === 'plants') await plants(Number(args[1] ?? 20));
else if (args[0] === 'more') await seeds(true, ...args.slice(1).map(Number));
else await seeds(false, ...args.map(Number));

async function seeds(more: boolean, first = 1, count = 1, lines = 0): Promise<void> {
  let failed = 0;
  let moved = 0;
  for (let seed = first; seed < first + count; seed++) {
    const { failure, transcript, counts } = await simulateLocks({ seed, more });
    moved += counts.get('moved') ?? 0;
    if (failure === undefined) continue;
    failed++;
    console.log(`seed ${seed}: ${failure}`);
    if (lines > 0) console.log(transcript.slice(-lines).join('\n'));
  }
  console.log(`${count - failed} held, ${failed} failed; ${moved} masterships moved`);
  process.exitCode = failed ? 1 : 0;
}

async function plants(count: number): Promise<void> {
  for (const plant of lockPlants) {
    let found = 0;
    for (let seed = 1; seed <= count; seed++) {
      const { checker } = await simulateLocks({ seed, plant, more: plant.more ?? false });
      if (checker !== undefined && plant.checkers.includes(checker)) found++;
    }
    console.log(`${found} of ${count}: ${plant.name}`);
    if (found === 0) process.exitCode = 1;
  }
}
