// Every export of the LVS director, by file.

export { byForwarding } from './adapters/data-plane.by-forwarding.ts';
export { directDataPlane } from './adapters/data-plane.direct.ts';
export { ipvsadmDataPlane } from './adapters/data-plane.ipvsadm.ts';
export { nftDataPlane } from './adapters/data-plane.nft.ts';
export { proxyDataPlane } from './adapters/data-plane.proxy.ts';
export { FakeNetwork } from './adapters/network.fake.ts';
export { changePlacesNow } from './adapters/places.netlink.ts';
export { FakeProber, type FakeScript, type FakeServer } from './adapters/prober.fake.ts';
export { hostProber } from './adapters/prober.host.ts';
export { memoryTableStore } from './adapters/table-store.memory.ts';
export { type Candidate, candidateOf, overloadAfter, takesNew } from './candidate.ts';
export {
  afterCheck,
  type CheckerState,
  type CheckerStep,
  newChecker,
  timesOf,
} from './checks/checker.ts';
export { type Health, type ServerHealthState, startHealth } from './checks/health.ts';
export {
  carriedBy,
  type Pool,
  type PoolChange,
  type PoolStep,
  poolEnds,
  poolOf,
  serverIs,
  serverWeighs,
} from './checks/pool.ts';
export { clientsMax, type Flows, flowsOf, type HeldFlow } from './flows.ts';
export { linkKey } from './link-key.ts';
export { observeDataPlane } from './metrics.ts';
export { type GoesBy, type Places, placesOf } from './places.ts';
export type {
  Connections,
  DataPlane,
  Planned,
  Probe,
  ProbeResult,
  Prober,
  Traffic,
} from './ports.ts';
export { createScheduler } from './schedulers/by-name.ts';
export { maglevPlaces, maglevTable } from './schedulers/maglev.ts';
export type { Flow, Scheduler, SchedulerOptions } from './schedulers/scheduler.ts';
export { createLvs, type LvsDeps, type LvsService } from './service.ts';
