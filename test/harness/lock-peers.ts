// Locks of three makers behind one interface, each used as its makers say: ours, redlock on Redis, and
// etcd's lock service. What is compared is compared through this.
import { createRequire } from 'node:module';
import { connect } from '@ssi/client';
import { Redis } from 'ioredis';
import { EtcdSession } from './etcd.ts';

/** A lock that is held. */
export interface HeldLock {
  /** Fencing token; absent: the maker has none. */
  readonly token?: string;
  release(): Promise<void>;
}

export interface LockClient {
  /** Waits until it is held; rejects where its session is over. */
  acquire(resource: string): Promise<HeldLock>;
  close(): Promise<void>;
}

/** A client that is not heard of for this long has lost its locks, with each of them: our `sessionMs`. */
export const leaseMs = 10_000;

export type PeerName = 'ssi' | 'redlock' | 'etcd';

export interface PeerPlaces {
  /** Name of the cluster, and the node whose lock manager is asked. */
  readonly cluster: string;
  readonly node: number;
  /** URL of redis-server. */
  readonly redis: string;
  /** host:port of etcd. */
  readonly etcd: string;
}

interface Redlock {
  lock(resource: string, ttlMs: number): Promise<{ unlock(): Promise<unknown> }>;
  quit(): Promise<unknown>;
  on(event: 'clientError', fn: () => void): void;
}
const RedlockOf = createRequire(import.meta.url)('redlock') as new (
  clients: Redis[],
  options: object,
) => Redlock;

export async function openLockClient(name: PeerName, places: PeerPlaces): Promise<LockClient> {
  if (name === 'redlock') {
    const redis = new Redis(places.redis);
    // As it comes, but for giving up: it looks again every 200 ms, and a bit.
    const redlock = new RedlockOf([redis], { retryCount: -1 });
    redlock.on('clientError', () => {});
    return {
      acquire: async (resource) => {
        const lock = await redlock.lock(`lock:${resource}`, leaseMs);
        // Past its end it cannot be given up: it is somebody else's.
        return { release: () => lock.unlock().then(() => {}) };
      },
      close: () => redlock.quit().then(() => {}),
    };
  }
  if (name === 'etcd') {
    const session = await EtcdSession.open(places.etcd, leaseMs);
    return {
      acquire: async (resource) => {
        const key = await session.lock(resource);
        return { release: () => session.unlock(key) };
      },
      close: () => session.close(),
    };
  }
  const ssi = await connect({ cluster: places.cluster, waitMs: leaseMs });
  if (!ssi.ok) throw new Error(`${ssi.errno} ${ssi.detail}`);
  const opened = await ssi.value.lockspace('peers', { node: places.node });
  if (!opened.ok) {
    await ssi.value.close();
    throw new Error(`${opened.errno} ${opened.detail}`);
  }
  const lockspace = opened.value;
  return {
    acquire: async (resource) => {
      const lock = await lockspace.lock(resource, 'EX');
      if (!lock.ok) throw new Error(`${lock.errno} ${lock.detail}`);
      return {
        token: lock.value.token ?? '',
        release: async () => {
          const done = await lockspace.unlock(lock.value);
          if (!done.ok) throw new Error(`${done.errno} ${done.detail}`);
        },
      };
    },
    close: async () => {
      await lockspace.close();
      await ssi.value.close();
    },
  };
}
