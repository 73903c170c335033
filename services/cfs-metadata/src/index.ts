// Every export of the metadata service, by file.
export { fileJournal } from './adapters/journal.file.ts';
export { type MemoryJournal, memoryJournal } from './adapters/journal.memory.ts';
export { emptyTree, type Outcome, type Tree } from './dentry.ts';
export { type Inode, linkMax, sizeMax, type Time } from './inode.ts';
export { apply } from './mutation.ts';
export type { Journal, JournalErrno } from './ports.ts';
export { decodeRecords, encodeRecord } from './record.ts';
export { type Opened, type RequestId, repliesMax, Store } from './store.ts';
export {
  drop as dropTokens,
  inOrder,
  release as releaseToken,
  request as requestToken,
  type TokenEffect,
  type TokenMode,
  type TokenTable,
  tokenTable,
} from './token.ts';
