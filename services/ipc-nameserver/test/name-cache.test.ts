// The cache of names on memory and on a real redis-server, which is emptied, killed and missing.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { noLog } from '@ssi/ports';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memoryNameCache, memoryStore, redisNameCache } from '../src/index.ts';
import { until } from './cluster.ts';
import { binding, nameCacheSuite } from './name-cache.suite.ts';

describe('IPC: cache of names in memory', () => {
  const stores = new Map<string, ReturnType<typeof memoryStore>>();
  nameCacheSuite((cluster) => {
    const store = stores.get(cluster) ?? memoryStore();
    stores.set(cluster, store);
    return memoryNameCache(store, cluster);
  });
});

describe('IPC: cache of names in Redis', () => {
  const dir = mkdtempSync(join(tmpdir(), 'ssi-names-'));
  const url = join(dir, 'redis.sock');
  const program = fileURLToPath(new URL('../../../.tools/bin/redis-server', import.meta.url));
  let server: ChildProcess;
  let redis: Redis;
  const start = async (): Promise<void> => {
    const child = spawn(program, ['--port', '0', '--unixsocket', url, '--save', '', '--dir', dir]);
    server = child;
    for await (const line of child.stdout) if (String(line).includes('ready to accept')) break;
    child.stdout.resume();
  };
  beforeAll(async () => {
    await start();
    redis = new Redis(url);
    redis.on('error', () => {});
  });
  afterAll(() => {
    redis?.disconnect();
    server?.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  });
  const open = (cluster: string) => redisNameCache({ url, cluster, log: noLog });

  nameCacheSuite(open);

  test('one hash for each type; FLUSHALL leaves nothing, and the next epoch fills it again', async () => {
    const cache = open('flush');
    await cache.begin(3);
    cache.replace(3, [binding(1), binding(2, 'sem')]);
    await cache.begin(3);
    expect((await redis.keys('ssi:{flush}:ipc:*')).sort()).toEqual(
      ['msg', 'owner', 'sem'].map((k) => `ssi:{flush}:ipc:${k}`),
    );
    await redis.flushall();
    // Whoever wrote there before is not known any more: nothing is better than half of it.
    cache.put(3, binding(3));
    expect(await cache.begin(3)).toEqual([]);
    cache.replace(3, [binding(1), binding(3)]);
    expect((await cache.begin(4)).map((b) => b.id).sort()).toEqual([1, 3]);
    cache.close();
  });

  test('what is no binding is not believed', async () => {
    const cache = open('junk');
    await cache.begin(3);
    await redis.hset('ssi:{junk}:ipc:msg', {
      1: '{',
      2: '{"id":2}',
      3: JSON.stringify(binding(3)),
    });
    expect((await cache.begin(4)).map((b) => b.id)).toEqual([3]);
    cache.close();
  });

  test('killed: a takeover finds nothing and does not wait; back, it is filled again', async () => {
    const cache = open('kill');
    await cache.begin(3);
    server.kill('SIGKILL');
    await new Promise((done) => server.once('exit', done));
    const beganMs = performance.now();
    expect(await cache.begin(4)).toEqual([]);
    expect(performance.now() - beganMs).toBeLessThan(2_000);
    cache.replace(4, [binding(1)]);
    await start();
    await until('filled again', async () => (await cache.begin(5)).length === 1);
    cache.close();
  });
});
