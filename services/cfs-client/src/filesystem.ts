// The mount's file system: all operations of it.
import type { Filesystem } from '@ssi/fuse';
import { Client, type ClientOptions } from './client.ts';
import { fileOperations } from './file-operations.ts';
import { lockOperations } from './lock-operations.ts';
import { treeOperations } from './tree-operations.ts';

export function clusterFilesystem(options: ClientOptions): Filesystem {
  const client = new Client(options);
  const { released, ...locks } = lockOperations(client);
  return { ...treeOperations(client), ...fileOperations(client, released), ...locks };
}
