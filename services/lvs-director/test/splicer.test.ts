// Pairs of real sockets: every byte in its order, at the pace of the slower, half-closes, resets.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { takeDescriptor } from '@ssi/linux';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Splicer } from '../src/adapters/splicer.ts';

let server: Server;
let splicer: Splicer;
/** Ends of the outer sockets, which the splicer has the inner ones of. */
let left: Socket;
let right: Socket;
let events: string[];
let ended: Promise<void>;

async function pair(): Promise<[outer: Socket, inner: Socket]> {
  const accepted = once(server, 'connection');
  const { port } = server.address() as AddressInfo;
  const outer = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  const [inner] = (await accepted) as [Socket];
  return [outer, inner];
}

beforeEach(async () => {
  server = createServer({ pauseOnConnect: true });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  splicer = new Splicer();
  events = [];
  const [[l, innerLeft], [r, innerRight]] = [await pair(), await pair()];
  left = l;
  right = r;
  ended = new Promise((done) =>
    splicer.add([takeDescriptor(innerLeft), takeDescriptor(innerRight)], {
      bytes: (from) => void (events.includes(`bytes ${from}`) || events.push(`bytes ${from}`)),
      ending: () => void events.push('ending'),
      ended: () => {
        events.push('ended');
        done();
      },
    }),
  );
});
afterEach(() => {
  splicer.clear();
  for (const socket of [left, right]) socket.destroy();
  server.close();
});

async function hashOf(socket: Socket): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of socket) hash.update(piece as Buffer);
  return hash.digest('hex');
}

test('splicer: 32 MiB each way at once, and a half-close passes with the other way open', async () => {
  const [there, back] = [randomBytes(32 * 2 ** 20), randomBytes(32 * 2 ** 20)];
  const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  left.end(there);
  const got = hashOf(right);
  expect(await got).toBe(sha(there));
  // `left` has said all; it still hears.
  right.end(back);
  expect(await hashOf(left)).toBe(sha(back));
  await ended;
  expect(events).toEqual(['bytes 0', 'ending', 'bytes 1', 'ending', 'ended']);
});

test('splicer: who reads slowly slows the other down; nothing is lost', async () => {
  const sent = randomBytes(16 * 2 ** 20);
  left.end(sent);
  await expect.poll(() => events.length).toBeGreaterThan(0);
  // Buffers of the kernel are full long before: the writer still has most of it.
  await expect.poll(() => left.writableLength).toBeGreaterThan(1 * 2 ** 20);
  expect(await hashOf(right)).toBe(createHash('sha256').update(sent).digest('hex'));
});

test('splicer: a reset passes as a reset, and ends the pair', async () => {
  const failed = once(right, 'error');
  left.resetAndDestroy();
  right.resume();
  const [error] = (await failed) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNRESET');
  await ended;
  expect(events.at(-1)).toBe('ended');
});

test('splicer: clear resets what goes on', async () => {
  right.resume();
  const failed = once(right, 'error');
  splicer.clear();
  await Promise.all([failed, ended]);
});
