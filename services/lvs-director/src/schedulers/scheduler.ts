// What every scheduler is: told of each change of its servers, asked for each new connection.
import type { SchedulerFlag } from '@ssi/contracts';
import type { Random } from '@ssi/ports';
import type { Candidate } from '../candidate.ts';

/** What is known of a connection that begins. Addresses as 32-bit numbers. */
export interface Flow {
  readonly client: number;
  readonly clientPort: number;
  /** What the client asked for; differs between connections of a service by mark. */
  readonly destination: number;
  readonly atMs: number;
}

export interface Scheduler {
  /** A server was added, changed or removed: this is the list now, in its order. Candidates keep their identity. */
  changed(candidates: readonly Candidate[]): void;
  /** undefined: none may take it. */
  pick(flow: Flow): Candidate | undefined;
}

export interface SchedulerOptions {
  readonly flags: readonly SchedulerFlag[];
  readonly random: Random;
}

/** One that goes by nothing but the candidates as they are in the moment. */
export function ofTheMoment(
  choose: (candidates: readonly Candidate[]) => Candidate | undefined,
): Scheduler {
  let list: readonly Candidate[] = [];
  return {
    changed(candidates) {
      list = candidates;
    },
    pick: () => choose(list),
  };
}
