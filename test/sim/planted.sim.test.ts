// The checkers can fail: each planted bug is found, by the checker that is meant for it, within a few
// seeds; without a bug the same runs hold. How many seeds of a hundred: npm run sim -- --planted
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { isFound, plantedJob, sourcesDie } from './planted.ts';
import { type PlantName, plants } from './plants.ts';
import { run } from './pool.ts';
import { simulate } from './simulate.ts';

/** Seeds tried until the bug must be found. */
const seedsMax = 120;

for (const key of Object.keys(plants) as PlantName[])
  test(`Simulation finds: ${plants[key].name}`, { timeout: 400_000 }, async () => {
    const others: string[] = [];
    for (let seed = 1; seed <= seedsMax; seed++) {
      const result = await run(plantedJob(key, seed));
      if (isFound(key, result)) return;
      if (result.failure) others.push(`seed ${seed}: ${result.failure}`);
    }
    assert.fail(`not found in ${seedsMax} seeds; instead: ${others.join('; ') || 'nothing'}`);
  });

test('Simulation: the faults that are made for a bug break nothing without it', {
  timeout: 120_000,
}, async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const { failure } = await simulate({ seed, faultyMs: 20_000, faults: sourcesDie });
    assert.equal(failure, undefined);
  }
});
