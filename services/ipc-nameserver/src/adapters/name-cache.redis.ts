// The cache in Redis by ioredis: one hash per type, id to binding. Every write is a script that compares
// cluster and epoch, so that a nameserver of the past writes nothing, however late. [Redis: EVAL]
import { type IpcBinding, ipcBinding, ipcTypes } from '@ssi/contracts';
import type { Log } from '@ssi/ports';
import { Redis } from 'ioredis';
import type { NameCache } from '../ports.ts';

/** A takeover waits for Redis no longer than this. */
const answerMs = 300;
/** Writes kept while it is away; past it they are lost, as it may lose anything. */
const unsentMax = 10_000;
const replaceMax = 500;

/** KEYS: owner, hashes. ARGV: cluster, epoch. Gives 0 to who is too late, else 1; what another cluster left goes. */
const claim = `
local c, e = unpack(redis.call('HMGET', KEYS[1], 'cluster', 'epoch'))
if c ~= ARGV[1] then for i = 2, #KEYS do redis.call('DEL', KEYS[i]) end
elseif tonumber(e) > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'cluster', ARGV[1], 'epoch', ARGV[2])
return 1`;
/** KEYS: owner, hash. ARGV: cluster, epoch, id, binding (empty: none). */
const write = `
local c, e = unpack(redis.call('HMGET', KEYS[1], 'cluster', 'epoch'))
if c ~= ARGV[1] or e ~= ARGV[2] then return 0 end
if ARGV[4] == '' then redis.call('HDEL', KEYS[2], ARGV[3]) else redis.call('HSET', KEYS[2], ARGV[3], ARGV[4]) end
return 1`;
/** KEYS: owner, hashes. ARGV: cluster, epoch. */
const clear = `
local c, e = unpack(redis.call('HMGET', KEYS[1], 'cluster', 'epoch'))
if c ~= ARGV[1] or e ~= ARGV[2] then return 0 end
for i = 2, #KEYS do redis.call('DEL', KEYS[i]) end
return 1`;

/** `cluster`: what tells this cluster from all others, also from a former one of its name. */
export function redisNameCache(q: { url: string; cluster: string; log: Log }): NameCache {
  const { cluster } = q;
  const prefix = `ssi:{${cluster}}:ipc`;
  const owner = `${prefix}:owner`;
  const hashOf = (type: string): string => `${prefix}:${type}`;
  const keys = [owner, ...ipcTypes.map(hashOf)];
  const redis = new Redis(q.url, {
    connectTimeout: 1_000,
    maxRetriesPerRequest: null,
    retryStrategy: (times) => Math.min(1_000, 50 * times),
  });
  let away = false;
  redis.on('error', (error) => {
    if (!away) q.log.warn('the cache is away; names go on without it', { detail: String(error) });
    away = true;
  });
  redis.on('ready', () => {
    away = false;
  });

  let unsent = 0;
  const send = (
    script: string,
    names: readonly string[],
    args: readonly (string | number)[],
  ): void => {
    if (unsent >= unsentMax) return;
    unsent++;
    void redis
      .eval(script, names.length, ...names, ...args)
      .catch(() => {})
      .finally(() => unsent--);
  };
  const put = (epoch: number, b: IpcBinding): void =>
    send(write, [owner, hashOf(b.type)], [cluster, epoch, b.id, JSON.stringify(b)]);

  async function load(epoch: number): Promise<IpcBinding[]> {
    const mine = await redis.eval(claim, keys.length, ...keys, cluster, epoch);
    if (mine !== 1) return [];
    const hashes = await Promise.all(ipcTypes.map((type) => redis.hvals(hashOf(type))));
    return hashes.flat().flatMap((text) => parse(text) ?? []);
  }

  return {
    begin: (epoch) =>
      Promise.race([
        load(epoch).catch(() => []),
        new Promise<IpcBinding[]>((done) => setTimeout(() => done([]), answerMs).unref()),
      ]),
    replace(epoch, bindings) {
      // Claimed again: it may have come back empty.
      send(claim, keys, [cluster, epoch]);
      send(clear, keys, [cluster, epoch]);
      for (const b of bindings.slice(0, unsentMax - replaceMax)) put(epoch, b);
    },
    put,
    drop: (epoch, { id, type }) => send(write, [owner, hashOf(type)], [cluster, epoch, id, '']),
    close: () => redis.disconnect(),
  };
}

function parse(text: string): IpcBinding | undefined {
  try {
    return ipcBinding.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
