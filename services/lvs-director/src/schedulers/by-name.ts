// Every scheduler by its name. [ipvsadm(8): -s]
import type { SchedulerName } from '@ssi/contracts';
import { destinationHash, sourceHash } from './hashed.ts';
import {
  failover,
  leastConnection,
  neverQueue,
  overflow,
  shortestDelay,
  weightedLeast,
} from './least.ts';
import { localityBased, localityWithReplicas } from './locality.ts';
import { maglev } from './maglev.ts';
import { roundRobin, weightedRoundRobin } from './round-robin.ts';
import { ofTheMoment, type Scheduler, type SchedulerOptions } from './scheduler.ts';
import { twoChoices } from './two-choices.ts';

const makers: Readonly<Record<SchedulerName, (q: SchedulerOptions) => Scheduler>> = {
  rr: roundRobin,
  wrr: weightedRoundRobin,
  lc: () => ofTheMoment(leastConnection),
  wlc: () => ofTheMoment(weightedLeast),
  sed: () => ofTheMoment(shortestDelay),
  nq: () => ofTheMoment(neverQueue),
  fo: () => ofTheMoment(failover),
  ovf: () => ofTheMoment(overflow),
  sh: sourceHash,
  dh: destinationHash,
  mh: maglev,
  lblc: localityBased,
  lblcr: localityWithReplicas,
  twos: twoChoices,
};

export const createScheduler = (name: SchedulerName, q: SchedulerOptions): Scheduler =>
  makers[name](q);
