// Every export of the LVS director, by file.

export { type Candidate, candidateOf, overloadAfter, takesNew } from './candidate.ts';
export { createScheduler } from './schedulers/by-name.ts';
export { maglevPlaces, maglevTable } from './schedulers/maglev.ts';
export type { Flow, Scheduler, SchedulerOptions } from './schedulers/scheduler.ts';
