// Every export of vproc, by file.
export { FakeMachine, type FakeProcess, runningCopies } from './adapters/machine.fake.ts';
export { type FakePorts, fakePorts } from './adapters/ports.fake.ts';
export { memoryRecords, noNativePorts } from './adapters/ports.none.ts';
export {
  decidedPoints,
  type Failpoint,
  type FailpointName,
  failpoints,
  noFailpoint,
  rollbackPoints,
} from './failpoint.ts';
export type { VprocDeps } from './local-node.ts';
export type * from './ports.ts';
export { createVproc, type Vproc } from './service.ts';
