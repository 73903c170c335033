// The checkers can fail: each planted bug is found, by the checker that is meant for it, within a few
// seeds that are clean without it.
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { type Plant, plants } from './plants.ts';
import { simulate } from './simulate.ts';

/** Seeds tried until the bug must be found. */
const seedsMax = 30;

const expected: Readonly<Record<keyof typeof plants, readonly string[]>> = {
  commitBeforeKill: ['one copy'],
  resumeWithoutAbort: ['one copy', 'comes to rest', 'no process lost'],
  leaseOutlivesVerdict: ['excluded', 'one copy'],
  thawWithoutAsking: ['excluded', 'one copy'],
  stepsOutOfOrder: ['nodedown steps'],
  guessingSurrogate: ['origin', 'no process lost', 'one copy'],
  newRequestId: ['at most once'],
};

for (const [key, plant] of Object.entries(plants) as [keyof typeof plants, Plant][])
  test(`Simulation finds: ${plant.name}`, { timeout: 400_000 }, async () => {
    const others: string[] = [];
    for (let seed = 1; seed <= seedsMax; seed++) {
      const { checker, failure } = await simulate({ seed, plant, faultyMs: 20_000 });
      if (checker && expected[key].includes(checker)) return;
      if (failure) others.push(`seed ${seed}: ${failure}`);
    }
    assert.fail(`not found in ${seedsMax} seeds; instead: ${others.join('; ') || 'nothing'}`);
  });
