// The mount's file system: all operations of it.
import type { Filesystem } from '@ssi/fuse';
import { Client, type ClientOptions } from './client.ts';
import { fileOperations } from './file-operations.ts';
import { type HeldLock, lockOperations } from './lock-operations.ts';
import { treeOperations } from './tree-operations.ts';

export interface ClusterFilesystem {
  readonly operations: Filesystem;
  locks(): HeldLock[];
}

export function clusterFilesystem(options: ClientOptions): ClusterFilesystem {
  const client = new Client(options);
  const { released, held, ...locks } = lockOperations(client);
  return {
    operations: { ...treeOperations(client), ...fileOperations(client, released), ...locks },
    locks: held,
  };
}
