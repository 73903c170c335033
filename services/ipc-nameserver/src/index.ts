// Every export of the IPC nameserver and the object managers, by file.
export { checkName, nameKey } from './key.ts';
export {
  bind,
  drop,
  find,
  lookupOrCreate,
  newTable,
  type ObjectTable,
  objectsMax,
  unbind,
} from './object-table.ts';
export { type Call, permits, type Settled } from './objects/call.ts';
export {
  giveUp,
  type IpcObject,
  newData,
  type ObjectData,
  type Outcome,
  operate,
  ownerEnded,
  stat,
} from './objects/object.ts';
export { waitingIn } from './objects/waiting.ts';
