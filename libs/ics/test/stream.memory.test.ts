// Out-of-line streams in memory: the promises that the TCP ones keep, without sockets.
import type { Stream } from '@ssi/ports';
import { expect, test } from 'vitest';
import { memoryStreams } from '../src/stream.memory.ts';

const token = '0123456789abcdef0123456789abcdef';
const streams = memoryStreams();

async function pair() {
  const listener = await streams.listen();
  const far = Promise.withResolvers<Stream>();
  listener.accept(token, far.resolve);
  const near = await streams.connect(
    { node: 1, addresses: ['anywhere'], port: listener.port },
    token,
    1_000,
  );
  if (!near.ok) throw new Error(near.detail);
  return { listener, near: near.value, far: await far.promise };
}

test('ICS: memory stream: messages arrive in order and whole, both ways, to a clean end', async () => {
  const { near, far } = await pair();
  const send = async (s: Stream): Promise<void> => {
    for (const size of [0, 1, 1024 * 1024, 3]) await s.write(new Uint8Array(size));
    await s.end();
  };
  const receive = async (s: Stream): Promise<number[]> => {
    const got: number[] = [];
    for (let m = await s.read(); m; m = await s.read()) got.push(m.length);
    return got;
  };
  const [a, b] = await Promise.all([receive(far), receive(near), send(near), send(far)]);
  expect([a, b]).toEqual([
    [0, 1, 1024 * 1024, 3],
    [0, 1, 1024 * 1024, 3],
  ]);
  await Promise.all([near.closed, far.closed]);
});

test('ICS: memory stream: EACCES, EHOSTUNREACH; a revoked token is not valid', async () => {
  const { listener } = await pair();
  const other = 'f'.repeat(32);
  expect(
    await streams.connect({ node: 1, addresses: [], port: listener.port }, other, 1),
  ).toMatchObject({ errno: 'EACCES' });
  listener.accept(other, () => {}).revoke();
  expect(
    await streams.connect({ node: 1, addresses: [], port: listener.port }, other, 1),
  ).toMatchObject({ errno: 'EACCES' });
  await listener.close();
  expect(
    await streams.connect({ node: 1, addresses: [], port: listener.port }, token, 1),
  ).toMatchObject({
    errno: 'EHOSTUNREACH',
  });
});

test('ICS: memory stream: what came is read, then a broken connection rejects; a new one replaces it', async () => {
  const { listener, near, far } = await pair();
  await near.write(new Uint8Array([1, 2]));
  near.destroy();
  expect(await far.read()).toEqual(new Uint8Array([1, 2]));
  await expect(far.read()).rejects.toThrow();
  await expect(far.write(new Uint8Array(1))).rejects.toThrow();
  await far.closed;
  const again = await streams.connect({ node: 1, addresses: [], port: listener.port }, token, 1);
  expect(again).toMatchObject({ ok: true });
});

test('ICS: memory stream: a reader that does not read holds the writer back; over 1 MiB is refused', async () => {
  const { near, far } = await pair();
  let written = 0;
  const writing = (async () => {
    for (; written < 8; written++) await near.write(new Uint8Array(1024 * 1024));
  })();
  for (let i = 0; i < 50; i++) await Promise.resolve();
  expect(written).toBe(4);
  for (let i = 0; i < 8; i++) await far.read();
  await writing;
  await expect(near.write(new Uint8Array(1024 * 1024 + 1))).rejects.toThrow('1 MiB');
});
