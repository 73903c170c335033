// Out-of-line streams: token, order, checksum, back-pressure, one connection for each token.
import { createConnection } from 'node:net';
import type { Stream, StreamListener } from '@ssi/ports';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { tcpStreams } from '../src/stream.tcp.ts';
import { realClock } from './real-clock.ts';

const streams = tcpStreams({ clock: realClock, host: '127.0.0.1' });
const here = (port: number) => ({ node: 1, addresses: ['127.0.0.1'], port });
const token = '0123456789abcdef0123456789abcdef';
let listener: StreamListener;
const opened: Stream[] = [];

beforeEach(async () => {
  listener = await streams.listen();
});
afterEach(async () => {
  for (const s of opened.splice(0)) s.destroy();
  await listener.close();
});

async function pair(): Promise<{ near: Stream; far: Stream }> {
  const far = Promise.withResolvers<Stream>();
  listener.accept(token, far.resolve);
  const near = await streams.connect(here(listener.port), token, 2_000);
  if (!near.ok) throw new Error(near.detail);
  const both = { near: near.value, far: await far.promise };
  opened.push(both.near, both.far);
  return both;
}

test('ICS: stream: messages arrive in order and whole, both ways, to a clean end', async () => {
  const { near, far } = await pair();
  const sizes = [0, 1, 8, 65_535, 65_536, 1024 * 1024, 3];
  const sent = async (s: Stream): Promise<void> => {
    for (const size of sizes) await s.write(new Uint8Array(size).fill(size % 253));
    await s.end();
  };
  const received = async (s: Stream): Promise<number[]> => {
    const got: number[] = [];
    for (let m = await s.read(); m; m = await s.read()) {
      expect(m.every((b) => b === m.length % 253)).toBe(true);
      got.push(m.length);
    }
    return got;
  };
  const [a, b] = await Promise.all([received(far), received(near), sent(near), sent(far)]);
  expect(a).toEqual(sizes);
  expect(b).toEqual(sizes);
  await Promise.all([near.closed, far.closed]);
});

test('ICS: stream: EACCES for a token that is unknown or revoked', async () => {
  const unknown = await streams.connect(here(listener.port), token, 2_000);
  expect(unknown).toMatchObject({ errno: 'EACCES' });
  listener.accept(token, () => {}).revoke();
  const revoked = await streams.connect(here(listener.port), token, 2_000);
  expect(revoked).toMatchObject({ errno: 'EACCES' });
});

test('ICS: stream: EHOSTUNREACH where nobody listens; the next address is tried', async () => {
  const { port } = listener;
  await listener.close();
  expect(await streams.connect(here(port), token, 2_000)).toMatchObject({ errno: 'EHOSTUNREACH' });
  listener = await streams.listen();
  const far = Promise.withResolvers<Stream>();
  listener.accept(token, far.resolve);
  const near = await streams.connect(
    { ...here(listener.port), addresses: ['127.0.0.77', '127.0.0.1'] },
    token,
    2_000,
  );
  expect(near.ok).toBe(true);
  if (near.ok) opened.push(near.value);
  opened.push(await far.promise);
});

test('ICS: stream: ETIMEDOUT where somebody listens and says nothing', async () => {
  const { createServer } = await import('node:net');
  const mute = createServer(() => {});
  await new Promise<void>((done) => {
    mute.listen(0, '127.0.0.1', done);
  });
  const at = mute.address();
  const port = typeof at === 'object' && at ? at.port : 0;
  expect(await streams.connect(here(port), token, 100)).toMatchObject({ errno: 'ETIMEDOUT' });
  mute.close();
});

test('ICS: stream: presenting the token again replaces the connection', async () => {
  const got: Stream[] = [];
  listener.accept(token, (s) => got.push(s));
  const first = await streams.connect(here(listener.port), token, 2_000);
  if (!first.ok) throw new Error(first.detail);
  const broken = expect(first.value.read()).rejects.toThrow();
  const second = await streams.connect(here(listener.port), token, 2_000);
  if (!second.ok) throw new Error(second.detail);
  opened.push(first.value, second.value, ...got);
  await broken;
  await second.value.write(new Uint8Array([1]));
  expect(await got[1]?.read()).toEqual(Buffer.from([1]));
  await expect(got[0]?.read()).rejects.toThrow();
});

test('ICS: stream: what came whole is read, then a broken connection rejects', async () => {
  const { near, far } = await pair();
  await near.write(new Uint8Array([1, 2]));
  expect(await far.read()).toEqual(Buffer.from([1, 2]));
  near.destroy();
  await expect(far.read()).rejects.toThrow();
  await far.closed;
  await expect(far.write(new Uint8Array(1))).rejects.toThrow();
});

test('ICS: stream: a changed byte is noticed', async () => {
  const far = Promise.withResolvers<Stream>();
  listener.accept(token, far.resolve);
  const socket = createConnection({ host: '127.0.0.1', port: listener.port });
  const bad = Buffer.alloc(12);
  bad.writeUInt32LE(4, 0);
  bad.writeUInt32LE(0x1234_5678, 4);
  socket.write(Buffer.concat([Buffer.from(`SSIS${token}`), bad]));
  await expect((await far.promise).read()).rejects.toThrow('checksum');
  socket.destroy();
});

test('ICS: stream: a reader that does not read holds the writer back', async () => {
  const { near, far } = await pair();
  const message = new Uint8Array(1024 * 1024);
  let written = 0;
  let held = false;
  const writing = (async () => {
    for (let i = 0; i < 200; i++) {
      await near.write(message);
      written++;
    }
    await near.end();
  })();
  // The writer stops before all is written although nothing is read: queue and kernel buffers are bounded.
  for (let last = -1; last !== written; ) {
    last = written;
    await new Promise((done) => setTimeout(done, 200));
  }
  held = written < 200;
  expect(held).toBe(true);
  let read = 0;
  while (await far.read()) read++;
  await writing;
  expect(read).toBe(200);
});
