// Every export, by file.
export { type CheckOptions, type Counterexample, check, type Verdict } from './check.ts';
export { type ClientId, type HistoryEvent, type Operation, operationsOf } from './history.ts';
export type { Model } from './model.ts';
export {
  type LockInput,
  type LockMode,
  type LockOutput,
  type LockState,
  lock,
} from './models/lock.ts';
export { type RegisterInput, type RegisterOutput, register } from './models/register.ts';
export { picture } from './picture.ts';
export type { Attempt } from './search.ts';
