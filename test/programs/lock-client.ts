// A client of locks that goes on for ever: locks, reads the register, thinks, writes one more, unlocks. It
// never asks whether it still has the lock: that is what the register's fence is for. Tells by IPC when it
// is between reading and writing. Arguments: the maker of the lock, the register's key, the places as JSON.
import { fencedRedis } from '@ssi/fence';
import { Redis } from 'ioredis';
import { openLockClient, type PeerName } from '../harness/lock-peers.ts';

const thinkMs = 20;
const againMs = 100;

const [peer, key = '', placesText = '{}'] = process.argv.slice(2);
const places = JSON.parse(placesText);
const redis = new Redis(places.redis);
const fence = fencedRedis(([name = '', ...words]) => redis.call(name, ...words));
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
const tell = (what: string): void => void process.send?.(what);
process.once('disconnect', () => process.exit(0));

const text = async (): Promise<number> => Number((await redis.get(key))?.split(' ')[0] ?? 0);

for (;;) {
  try {
    const client = await openLockClient(peer as PeerName, places);
    try {
      for (;;) {
        const lock = await client.acquire(key);
        const { token } = lock;
        if (token === undefined || (await fence.check(key, token)).ok) {
          const base = await text();
          tell('in');
          await pause(thinkMs);
          const value = `${base + 1} ${process.pid} ${base}`;
          const done = token === undefined ? undefined : await fence.set(key, token, value);
          if (token === undefined) await redis.set(key, value);
          tell(done?.ok === false ? 'refused' : 'written');
        } else tell('refused');
        await lock.release();
      }
    } finally {
      void client.close().catch(() => {});
    }
  } catch {
    // The session is over, or a node away: from the start.
    tell('again');
    await pause(againMs);
  }
}
