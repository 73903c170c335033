// Servers and clients for the tests of schedulers.
import type { SchedulerFlag, SchedulerName } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import {
  type Candidate,
  candidateOf,
  createScheduler,
  type Flow,
  type Scheduler,
} from '../src/index.ts';

export function candidate(n: number, weight: number, active = 0, inactive = 0): Candidate {
  const server = { address: `10.1.${n >> 8}.${n & 255}`, port: 8000 + n, forward: 'masq' as const };
  return { ...candidateOf({ ...server, weight, upper: 0, lower: 0 }), active, inactive };
}

/** The same server with another weight: same identity for the scheduler. */
export function reweigh(c: Candidate, weight: number): void {
  Object.assign(c, { server: { ...c.server, weight } });
}

export const flow = (client: number, more: Partial<Flow> = {}): Flow => ({
  ...{ client, clientPort: 40_000, destination: 0x0a000001, atMs: 0, ...more },
});

export function scheduler(
  name: SchedulerName,
  candidates: readonly Candidate[],
  flags: readonly SchedulerFlag[] = [],
): Scheduler {
  const made = createScheduler(name, { flags, random: seededRandom(7) });
  made.changed(candidates);
  return made;
}

/** The next n picks as indexes; -1: none. */
export const picks = (s: Scheduler, candidates: readonly Candidate[], n: number): number[] =>
  Array.from({ length: n }, (_, i) => {
    const c = s.pick(flow(0xc0a80000 + i));
    return c ? candidates.indexOf(c) : -1;
  });

export function counts(indexes: readonly number[], of: number): number[] {
  const all = Array.from({ length: of }, () => 0);
  for (const i of indexes) if (i >= 0) all[i] = (all[i] ?? 0) + 1;
  return all;
}
