// What is expected of each planted bug: which checkers it is meant for. Found by any other it does not
// count.
import type { Fault } from './faults.ts';
import type { PlantName } from './plants.ts';
import type { Job } from './pool.ts';
import type { RunResult } from './simulate.ts';

/** The source's service dies again and again when it knows that the target has a copy. */
export const sourcesDie: readonly Fault[] = Array.from({ length: 5 }, (_, i) => ({
  atMs: 4_000 + 4_000 * i,
  forMs: 2_000,
  node: 1,
  what: { kind: 'dieAtPoint', point: 'move.source.prepared', what: 'service' },
}));

interface Expected {
  readonly checkers: readonly string[];
  /** In place of what the seed draws, where the bug needs a moment that is rare. */
  readonly faults?: readonly Fault[];
}
export const expected: Readonly<Record<PlantName, Expected>> = {
  commitBeforeKill: { checkers: ['one copy', 'origin', 'comes to rest'] },
  resumeWithoutAbort: { checkers: ['one copy', 'comes to rest'], faults: sourcesDie },
  leaseOutlivesVerdict: { checkers: ['excluded', 'one copy'] },
  thawWithoutAsking: { checkers: ['excluded', 'one copy'] },
  stepsOutOfOrder: { checkers: ['nodedown steps'] },
  guessingSurrogate: { checkers: ['origin', 'no process lost', 'one copy'] },
  newRequestId: { checkers: ['at most once'] },
  keyServiceWithoutLease: { checkers: ['one active instance'] },
  lostMailbox: { checkers: ['mailbox'] },
  eventTwice: { checkers: ['mailbox'] },
  blindWrite: { checkers: ['views', 'comes to rest', 'nodedown steps', 'excluded'] },
  recordsLost: { checkers: ['one copy', 'comes to rest', 'no process lost', 'origin'] },
  sourceRunsOn: { checkers: ['one copy', 'output', 'no process lost'] },
  staleView: { checkers: ['one copy', 'no process lost', 'origin', 'comes to rest'] },
};

export const plantedJob = (plant: PlantName, seed: number): Job => {
  const { faults } = expected[plant];
  return { seed, plant, faultyMs: 20_000, ...(faults && { faults }) };
};

export const isFound = (plant: PlantName, { checker }: RunResult): boolean =>
  checker !== undefined && expected[plant].checkers.includes(checker);
