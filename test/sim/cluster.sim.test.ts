// The whole cluster under faults, one world for each seed: no invariant is ever broken, and after
// everything was healed it comes to rest. A failing seed is run again with
// `npm run sim -- --seed S --trace`.
import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import { type Fault, shownFault } from './faults.ts';
import { type RunResult, simulate } from './simulate.ts';

const seeds = 200;
const seedsOfOneTest = 25;
/** Faults last this long in a run; forming and resting come on top. */
const faultyMs = (seed: number): number => 12_000 + (seed % 5) * 4_000;

const report = (r: RunResult): string =>
  [
    `seed ${r.seed}: ${r.failure}`,
    ...r.faults.map(shownFault),
    ...r.transcript.slice(-60),
    `again: npm run sim -- --seed ${r.seed} --seconds ${faultyMs(r.seed) / 1_000} --trace`,
  ].join('\n');

for (let first = 1; first <= seeds; first += seedsOfOneTest) {
  const last = first + seedsOfOneTest - 1;
  test(`Simulation: seeds ${first} to ${last} hold`, { timeout: 400_000 }, async () => {
    const failed: string[] = [];
    let moved = 0;
    for (let seed = first; seed <= last; seed++) {
      const result = await simulate({ seed, faultyMs: faultyMs(seed) });
      if (result.failure !== undefined) failed.push(report(result));
      moved += result.tally.get('migrate ok') ?? 0;
    }
    expect(failed).toEqual([]);
    // Not because nothing happened.
    assert.ok(moved > seedsOfOneTest, `only ${moved} moves`);
  });
}

test('Simulation: the same seed is the same run, to the last event', {
  timeout: 60_000,
}, async () => {
  const [a, b, c] = [
    await simulate({ seed: 7, faultyMs: 15_000 }),
    await simulate({ seed: 7, faultyMs: 15_000, trace: true }),
    await simulate({ seed: 8, faultyMs: 15_000 }),
  ];
  assert.equal(a.hash, b.hash);
  assert.notEqual(a.hash, c.hash);
});

test('Simulation: without faults nobody is excluded and every call is answered', {
  timeout: 60_000,
}, async () => {
  const result = await simulate({ seed: 1, faultyMs: 20_000, faults: [] });
  assert.equal(result.failure, undefined);
  const bad = [...result.tally.keys()].filter((k) => /EHOSTDOWN|EHOSTUNREACH|ENETDOWN/.test(k));
  assert.deepEqual(bad, []);
  assert.ok(!result.transcript.some((line) => line.includes('KCLEANUP')));
});

test('Simulation: one interconnect of two is away, then the other: nobody is excluded', {
  timeout: 60_000,
}, async () => {
  const cut = { kind: 'cutNode', way: 'both', how: 'cut' } as const;
  const faults: Fault[] = [
    { atMs: 4_000, forMs: 3_000, node: 2, what: { ...cut, from: 'nodes' } },
    { atMs: 8_000, forMs: 3_000, node: 3, what: { ...cut, from: 'broker' } },
    { atMs: 12_000, forMs: 3_000, node: 1, what: { kind: 'stopBroker', forgets: 0 } },
  ];
  for (const seed of [1, 2]) {
    const result = await simulate({ seed, faultyMs: 14_000, faults });
    assert.equal(result.failure, undefined);
    assert.ok(!result.transcript.some((line) => line.includes('KCLEANUP')));
  }
});

test('Simulation: the clocks of all machines are set, hours forward and back: nobody notices', {
  timeout: 60_000,
}, async () => {
  const hourMs = 3_600_000;
  const set = (node: number, atMs: number, ms: number): Fault => ({
    ...{ atMs, forMs: 4_000, node },
    what: { kind: 'setClock', ms },
  });
  const faults = [set(1, 4_000, 5 * hourMs), set(2, 5_000, -9 * hourMs), set(3, 6_000, 30_000)];
  const result = await simulate({ seed: 3, faultyMs: 12_000, faults });
  assert.equal(result.failure, undefined);
  assert.ok((result.tally.get('migrate ok') ?? 0) > 1);
  assert.ok(!result.transcript.some((line) => /KCLEANUP|lease lapsed/.test(line)));
});
