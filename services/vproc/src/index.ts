// Every export of vproc, by file.
export { type Failpoint, type FailpointName, failpoints, noFailpoint } from './failpoint.ts';
export type { VprocDeps } from './local-node.ts';
export type * from './ports.ts';
export { createVproc, type Vproc } from './service.ts';
