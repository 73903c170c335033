// Every export of the metadata service, by file.

export { folderData } from './adapters/data.folder.ts';
export { fileJournal } from './adapters/journal.file.ts';
export { type MemoryJournal, memoryJournal } from './adapters/journal.memory.ts';
export { folderPlace } from './adapters/place.folder.ts';
export { emptyTree, type Outcome, type Tree } from './dentry.ts';
export { FileServer } from './file-server.ts';
export { type Inode, linkMax, sizeMax, type Time } from './inode.ts';
export { apply, lockHolder } from './mutation.ts';
export type { Data, Journal, JournalErrno, Place, Room, Taken } from './ports.ts';
export { decodeRecords, encodeRecord } from './record.ts';
export { type CfsDeps, type CfsService, createCfs } from './service.ts';
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
