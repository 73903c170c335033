// The socket by which programs of a node ask: whole requests are answered, and what ends before it has asked leaves nothing.
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fail, ok, type Reply } from '@ssi/contracts';
import { noLog } from '@ssi/ports';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ProgramSocket, serveProgramSocket, systemClock } from '../src/index.ts';

let dir: string;
let served: { stop(): void } | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ssi-socket-'));
});
afterEach(() => {
  served?.stop();
  rmSync(dir, { recursive: true });
});

async function serve(answer: ProgramSocket<string>['answer']): Promise<string> {
  const path = join(dir, 'ask');
  served = serveProgramSocket({
    ...{ path, clock: systemClock(), log: noLog, connectionsMax: 1, lineMax: 64 },
    textBytes: (words) => (words[0] === 'long' ? fail('EINVAL', 'too long') : ok(Number(words[1]))),
    answer,
    told: (reply: Reply<string>) => (reply.ok ? reply.value : reply.errno),
  });
  await expect.poll(() => existsSync(path)).toBe(true);
  return path;
}
async function connected(path: string): Promise<Socket> {
  const socket = connect({ path, allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}
async function said(socket: Socket): Promise<string> {
  let text = '';
  for await (const part of socket) text += part;
  return text;
}

test('program socket: words, a text in pieces, and who asks', async () => {
  const path = await serve(async ({ pid }, { words, text }) =>
    ok(`${pid === process.pid} ${words[0]} ${Buffer.from(text)}`),
  );
  const socket = await connected(path);
  socket.write('take 5\nhe');
  setImmediate(() => socket.write('llo'));
  expect(await said(socket)).toBe('true take hello');
});

test('program socket: what tells of too much is refused before it has come', async () => {
  const refused = await connected(await serve(async () => ok('taken')));
  refused.write('long 1000000\n');
  expect(await said(refused)).toBe('EINVAL');
});

test('program socket: the half of a connection that a signal closes ends the wait, and is answered', async () => {
  const path = await serve(
    (_, { signal }) =>
      new Promise((done) => signal.addEventListener('abort', () => done(ok('interrupted')))),
  );
  const socket = await connected(path);
  socket.end('wait 0\n');
  expect(await said(socket)).toBe('interrupted');
});

test('program socket: one that ends before it has asked makes room for the next', async () => {
  const path = await serve(async () => ok('answered'));
  const killed = await connected(path);
  killed.write('half of a li');
  killed.end();
  // At once, not when a request is late.
  await once(killed.resume(), 'close', { signal: AbortSignal.timeout(3_000) });
  // connectionsMax is 1: what still counted would have it refused.
  const next = await connected(path);
  next.write('ask 0\n');
  expect(await said(next)).toBe('answered');
});
