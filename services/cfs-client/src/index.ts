// Every export of the client, by file.
import type { Filesystem } from '@ssi/fuse';
import { Client, type ClientOptions } from './client.ts';
import { fileOperations } from './file-operations.ts';
import { treeOperations } from './tree-operations.ts';

export { folderData } from './adapters/data.folder.ts';
export type { ClientOptions } from './client.ts';
export type { Change, Data, FileInfo, Metadata, Name } from './ports.ts';

/** The mount's file system. */
export function clusterFilesystem(options: ClientOptions): Filesystem {
  const client = new Client(options);
  return { ...treeOperations(client), ...fileOperations(client) };
}
