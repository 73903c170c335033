import { expect, test } from 'vitest';
import { explore } from './exhaustive.ts';

test('DLM: the grant rules are the oracle’s in every situation of up to 4 locks, whatever is done next', () => {
  const { situations, operations } = explore(4);
  console.log(`${situations} situations, ${operations} operations`);
  expect(situations).toBeGreaterThan(1_000);
});
