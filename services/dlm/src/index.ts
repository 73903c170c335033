// Every export of the lock manager, by file.

export { fileSessionRecord } from './adapters/session-record.file.ts';
export { memorySessionRecord } from './adapters/session-record.memory.ts';
export { fileTokenRecord } from './adapters/token-record.file.ts';
export { memoryTokenRecord } from './adapters/token-record.memory.ts';
export { bitsOf, checkConvert, checkRequest, flag, namesOf } from './flags.ts';
export { type Ast, grantPending, type Occasion, type Refusal } from './grant.ts';
export { compatible, rank, valueDirection, writes, writesValue } from './modes.ts';
export { type Ask, cancel, convert, type Giving, purge, request, unlock } from './operations.ts';
export type { Reserved, SessionRecord, TokenRecord } from './ports.ts';
export { locksIn, type Queue } from './queue.ts';
export { lockRange, testRange } from './range-operations.ts';
export { lengthOf, lowered, obstacle, type Segment, withRange } from './ranges.ts';
export {
  isUnused,
  type Lock,
  newLock,
  newResource,
  type Resource,
  type Token,
  type Tokens,
  valueBytes,
} from './resource.ts';
export { createDlm, type Dlm, type DlmDeps } from './service.ts';
export { tokenText } from './tokens.ts';
