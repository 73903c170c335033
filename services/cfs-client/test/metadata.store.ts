// The metadata port on the server's own store, in one process: for tests, until both talk over ICS.

import type { Inode, Store } from '@ssi/cfs-metadata';
import { type CfsMutation, fail, ok } from '@ssi/contracts';
import type { Metadata } from '../src/index.ts';

export function storeMetadata(store: Store, client: string): Metadata {
  const { tree } = store;
  const info = (ino: number) => {
    const inode = tree.inodes.get(ino);
    return inode ? ok(structuredClone<Inode>(inode)) : fail('ENOENT', `no inode ${ino}`);
  };
  let acknowledged = 0;
  let last = 0;
  return {
    lookup: async (parent, name) => info(tree.names.get(parent)?.get(name) ?? 0),
    info: async (ino) => info(ino),
    list: async (ino) => {
      const names = tree.names.get(ino);
      const directory = tree.inodes.get(ino);
      if (!names || !directory) return fail('ENOENT', `no directory ${ino}`);
      const all = [['..', directory.parent] as const, ...names];
      return ok(all.map(([name, at]) => ({ name, ino: at, mode: tree.inodes.get(at)?.mode ?? 0 })));
    },
    execute: async (id, change) => {
      const ms = performance.timeOrigin + performance.now();
      const at = [Math.floor(ms / 1000), Math.floor((ms % 1000) * 1e6)];
      const outcome = store.execute({ client, id, acknowledged }, { ...change, at } as CfsMutation);
      // Some way behind: requests are answered in another order than they come.
      if (id > last) last = id;
      acknowledged = Math.max(0, last - 1_000);
      return outcome;
    },
    sync: async () => store.sync(),
  };
}
