// Every export of the actor runner.
export { type Effect, type MachineOptions, type RunningMachine, runMachine } from './run.ts';
export { assertJson, type MachineSnapshotJson } from './snapshot.ts';
