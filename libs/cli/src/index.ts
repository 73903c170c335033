// Every export of the command line, for tests and tools.
export { killArguments } from './arguments.ts';
export { type CommandEntry, commandTable, type Define } from './command-table.ts';
export type { Io } from './io.ts';
export { bytes, cpuTime, duration, errorLine, table } from './output.ts';
export { run } from './program.ts';
export { exitCode, runFailure, signalNumber, statusOf } from './status.ts';
export {
  createEmbeddedCluster,
  type EmbeddedCluster,
  type EmbeddedOptions,
} from './up/embedded.ts';
export { program } from './up/host.ts';
export { waterfall } from './waterfall.ts';
