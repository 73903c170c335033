// The server port on the server's own parts, in one process: the mount without a cluster.
import type { FileServer } from '@ssi/cfs-metadata';
import { type CfsErrno, type CfsMutation, ok, type Reply } from '@ssi/contracts';
import type { Server } from '../src/index.ts';

export function localServer(files: FileServer, client: string): Server {
  let last = 0;
  /** Some way behind: requests are answered in another order than they come. */
  const next = () => ({ client, id: ++last, acknowledged: Math.max(0, last - 1_000) });
  const one = <T, U>(r: Reply<T, CfsErrno>, take: (value: T) => U) =>
    r.ok ? ok(take(r.value)) : r;
  return {
    lookup: async (parent, name) => files.lookup({ parent, name }),
    info: async (ino) => files.info(ino),
    list: async (ino) => one(files.list({ ino, from: 0 }), (r) => r.names),
    execute: async (change) => files.execute(next(), { ...change, at: [0, 0] } as CfsMutation),
    read: async (ino, offset, size) => one(files.read({ ino, offset, size }), (r) => r.bytes),
    write: async (write) => one(files.write({ request: next(), ...write }), (r) => r.written),
    allocate: async (range) => files.allocate({ request: next(), ...range }),
    seek: async (ino, offset, what) => one(files.seek({ ino, offset, what }), (r) => r.offset),
    sync: async (ino) => files.sync(ino === undefined ? {} : { ino }),
    lockHolder: async (lock) => files.lockHolder(lock),
    room: async () => files.room(),
  };
}
