// Every export of the LVS director, by file.

export { linkKey, nftDataPlane } from './adapters/data-plane.nft.ts';
export { type Candidate, candidateOf, overloadAfter, takesNew } from './candidate.ts';
export { type GoesBy, type Places, placesOf } from './places.ts';
export type { Connections, DataPlane, Planned, Traffic } from './ports.ts';
export { createScheduler } from './schedulers/by-name.ts';
export { maglevPlaces, maglevTable } from './schedulers/maglev.ts';
export type { Flow, Scheduler, SchedulerOptions } from './schedulers/scheduler.ts';
