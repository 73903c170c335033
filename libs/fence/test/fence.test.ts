// Fences on a real redis-server, and on real files with holders that are processes of their own.
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Fence, fencedFile, fencedRedis } from '../src/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'ssi-fence-'));
const redisServer = fileURLToPath(new URL('../../../.tools/bin/redis-server', import.meta.url));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** transid x 2^35 + n: apart by less than a double tells, where they are this large. */
const old = String(2n ** 62n);
const current = String(2n ** 62n + 1n);

async function holds(fence: Fence, resource: string): Promise<void> {
  expect(await fence.check(resource, '9')).toEqual({ ok: true });
  expect(await fence.check(resource, '10')).toEqual({ ok: true });
  expect(await fence.check(resource, '9')).toMatchObject({ errno: 'ESTALE' });
  expect(await fence.check(resource, current)).toEqual({ ok: true });
  expect(await fence.check(resource, old)).toMatchObject({ errno: 'ESTALE' });
  expect(await fence.check(resource, current)).toEqual({ ok: true });
  for (const token of ['', '-1', '1e3', '0x9', '1'.repeat(20)])
    expect(await fence.check(resource, token)).toMatchObject({ errno: 'EINVAL' });
}

describe('fence: Redis', () => {
  const path = join(folder, 'redis.sock');
  const server = spawn(redisServer, ['--port', '0', '--unixsocket', path, '--save', '']);
  let socket: Socket;
  let waiting: ((reply: string) => void)[] = [];
  const command = (words: readonly string[]): Promise<string> => {
    const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    socket.write(`*${words.length}\r\n${parts.join('')}`);
    return new Promise((done) => waiting.push(done));
  };
  const redis = fencedRedis(async (words) => {
    const reply = await command(words);
    if (reply.startsWith('-')) throw new Error(reply);
    return reply.slice(1);
  });
  beforeAll(async () => {
    for await (const line of server.stdout) if (String(line).includes('ready to accept')) break;
    socket = connect(path);
    socket.setEncoding('utf8');
    socket.on('data', (data) => {
      const [first, ...rest] = waiting;
      waiting = rest;
      first?.(String(data).trim());
    });
  });
  afterAll(() => {
    socket?.destroy();
    server.kill();
  });

  test('a token that was followed by another is refused, the current one is not', () =>
    holds(redis, 'r'));

  test('what comes with an old token is not written, be it ever so late', async () => {
    await redis.set('balance', '5', 'five');
    expect(await redis.check('balance', '6')).toEqual({ ok: true });
    expect(await redis.set('balance', '5', 'late')).toMatchObject({ errno: 'ESTALE' });
    expect(await command(['GET', 'balance'])).toBe('$4\r\nfive');
    expect(await redis.set('balance', '6', 'six')).toEqual({ ok: true });
    expect(await command(['GET', 'balance'])).toBe('$3\r\nsix');
  });
});

describe('fence: file', () => {
  test('a token that was followed by another is refused, the current one is not', () =>
    holds(fencedFile(), join(folder, 'r')));

  test('a line that a crash cut short is no token', async () => {
    const path = join(folder, 'torn');
    await fencedFile().check(path, '7');
    writeFileSync(`${path}.fence`, '9999', { flag: 'a' });
    expect(await fencedFile().check(path, '8')).toEqual({ ok: true });
    expect(await fencedFile().check(path, '7')).toMatchObject({ errno: 'ESTALE' });
  });

  test('of several processes the one with the newest token has the last word, whole', async () => {
    const path = join(folder, 'data');
    const writer = fileURLToPath(new URL('./writer.ts', import.meta.url));
    const run = promisify(execFile);
    const tokens = ['1', '2', '3', '4'];
    const outs = await Promise.all(
      tokens.map((token) => run(process.execPath, [writer, path, token, '20'])),
    );
    expect(Number(outs.at(-1)?.stdout)).toBe(20);
    expect(readFileSync(path, 'utf8')).toBe('4 19 '.repeat(1_000));
    expect(await fencedFile().write(path, '3', 'late')).toMatchObject({ errno: 'ESTALE' });
    expect(readFileSync(path, 'utf8')).toBe('4 19 '.repeat(1_000));
  });
});
