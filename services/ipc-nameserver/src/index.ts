// Every export of the IPC nameserver and the object managers, by file.

export { fileIdRecord } from './adapters/id-record.file.ts';
export { memoryIdRecord } from './adapters/id-record.memory.ts';
export { type MemoryStore, memoryNameCache, memoryStore } from './adapters/name-cache.memory.ts';
export { redisNameCache } from './adapters/name-cache.redis.ts';
export { linuxPrograms } from './adapters/programs.linux.ts';
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
} from './objects/object.ts';
export { waitingIn } from './objects/waiting.ts';
export type {
  IdRecord,
  NameCache,
  ProgramCall,
  ProgramReply,
  Programs,
} from './ports.ts';
export { createIpc, type IpcDeps, type IpcService } from './service.ts';
