// Endpoints as services open them: bus and direct transport together, failover between them and back.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { ok, type ServiceEndpoint } from '@ssi/contracts';
import { type CallContext, seededRandom } from '@ssi/ports';
import { afterEach, expect, test } from 'vitest';
import { startNatsServer } from '../../ports/test/nats-server.ts';
import { createEndpoint, type Endpoint } from '../src/endpoint.ts';
import { MemoryBus } from '../src/transport.memory.ts';
import { echo } from './echo.contract.ts';
import { realClock } from './real-clock.ts';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const c of cleanups.splice(0).reverse()) await c();
});
let seed = 100;

async function open(
  q: Partial<Parameters<typeof createEndpoint>[0]> & { node: number; service: string },
): Promise<Endpoint> {
  const made = await createEndpoint({
    cluster: 'test',
    clock: realClock,
    random: seededRandom(seed++),
    ...q,
  });
  if (!made.ok) throw new Error(made.detail);
  cleanups.push(() => made.value.close());
  return made.value;
}

const where = (e: Endpoint): ServiceEndpoint => ({
  node: e.ics.self.node,
  service: e.ics.self.service,
  bootId: e.ics.self.bootId,
  incarnation: { bootCount: 1, bootId: '0'.repeat(16) },
  tcp: [{ host: '127.0.0.1', port: e.tcpPort }],
});

test('ICS: endpoint: goes direct when the map is known, survives the loss of bus and socket', async () => {
  const nats = await startNatsServer();
  cleanups.push(() => nats.stop());
  const tcp = { host: '127.0.0.1' };
  const server = await open({ node: 1, service: 'echo', nats: nats.url, tcp });
  const ran: number[] = [];
  server.ics.serve(echo, {
    say: ({ n }) => {
      ran.push(n);
      return ok({ n, size: 0 });
    },
  });
  const client = await open({ node: 2, service: 'vproc', nats: nats.url, tcp });
  const say = (n: number) =>
    client.ics.call(echo, 'say', 1, { n }, { waitForServer: true, timeoutMs: 15_000 });
  const used = () => client.ics.peers().find((p) => p.contract === 'echo')?.transport;

  expect(await say(0)).toMatchObject({ ok: true });
  expect(used()).toBe('nats');
  client.setMap([where(server)]);
  expect(await say(1)).toMatchObject({ ok: true });
  expect(used()).toBe('tcp');

  await nats.kill();
  expect(await say(2)).toMatchObject({ ok: true });
  expect(used()).toBe('tcp');

  await nats.start();
  // The map loses the direct way: back to the bus, and calls in between are neither lost nor doubled.
  client.setMap([]);
  const replies = await Promise.all(Array.from({ length: 50 }, (_, i) => say(3 + i)));
  expect(replies.every((r) => r.ok)).toBe(true);
  expect(used()).toBe('nats');
  client.setMap([where(server)]);
  expect(await say(53)).toMatchObject({ ok: true });
  expect(used()).toBe('tcp');
  expect(ran).toEqual(Array.from({ length: 54 }, (_, n) => n));
});

test('ICS: endpoint: a client that may open the server’s socket goes there; without it over the bus; what says to be a node is refused', async () => {
  const nats = await startNatsServer();
  cleanups.push(() => nats.stop());
  const dir = mkdtempSync(`${tmpdir()}/ssi-local-`);
  cleanups.push(async () => rmSync(dir, { recursive: true, force: true }));
  const localPath = `${dir}/echo.sock`;
  const local = [{ node: 1, service: 'echo', path: localPath }];
  const start = async (): Promise<Endpoint> => {
    const made = await open({ node: 1, service: 'echo', nats: nats.url, tcp: { localPath } });
    made.ics.serve(echo, { say: ({ n }) => ok({ n, size: 0 }) });
    return made;
  };
  const first = await start();
  expect(statSync(localPath).mode & 0o777).toBe(0o600);
  const client = await open({ node: 0, service: 'cli1', nats: nats.url, local });
  const say = (n: number) =>
    client.ics.call(echo, 'say', 1, { n }, { waitForServer: true, timeoutMs: 15_000 });
  const used = () => client.ics.peers()[0]?.transport;
  expect(await say(1)).toMatchObject({ ok: true });
  expect(used()).toBe('tcp');

  const forger = await open({ node: 2, service: 'vproc', local });
  const forged = await forger.ics.call(echo, 'say', 1, { n: 1 }, { timeoutMs: 300 });
  expect(forged.ok).toBe(false);
  expect(first.ics.counters().forged).toBeGreaterThan(0);

  await first.close();
  const over = await open({ node: 1, service: 'echo', nats: nats.url });
  over.ics.serve(echo, { say: ({ n }) => ok({ n, size: 1 }) });
  // What was sent before the client knew may have been executed.
  const next = await say(2);
  if (!next.ok) expect(next.errno).toBe('ETIMEDOUT');
  expect(next.ok ? next : await say(2)).toEqual(ok({ n: 2, size: 1 }));
  expect(used()).toBe('nats');
  await over.close();
  await start(); // where the socket of the former life was
  expect(await say(3)).toEqual(ok({ n: 3, size: 0 }));
});

test('ICS: endpoint: services of one process do not cross the bus', async () => {
  const memory = new MemoryBus();
  const server = await open({ node: 1, service: 'echo', memory });
  server.ics.serve(echo, { say: ({ n }) => ok({ n, size: 0 }) });
  const client = await open({ node: 1, service: 'vproc', memory });
  expect(await client.ics.call(echo, 'say', 1, { n: 1 })).toMatchObject({ ok: true });
  expect(client.ics.peers()[0]?.transport).toBe('memory');
});

test('ICS: endpoint: EHOSTUNREACH without a bus, EACCES with wrong credentials', async () => {
  const options = { cluster: 'test', node: 0, service: 'cli1', clock: realClock };
  const q = { ...options, random: seededRandom(1), busWaitMs: 1_000 };
  expect(await createEndpoint({ ...q, nats: 'nats://127.0.0.1:1' })).toMatchObject({
    errno: 'EHOSTUNREACH',
  });
  const nats = await startNatsServer(['authorization { user: ssi, password: right }']);
  cleanups.push(() => nats.stop());
  const at = (pass: string) => `nats://ssi:${pass}@127.0.0.1:${nats.port}`;
  expect(await createEndpoint({ ...q, nats: at('wrong') })).toMatchObject({ errno: 'EACCES' });
  const right = await createEndpoint({ ...q, nats: at('right') });
  expect(right.ok).toBe(true);
  if (right.ok) await right.value.close();
});

test('ICS: endpoint: priority and trace travel with the context', async () => {
  const memory = new MemoryBus();
  const seen: CallContext[] = [];
  const last = await open({ node: 3, service: 'echo', memory });
  last.ics.serve(echo, {
    slow: ({ n }, call) => {
      seen.push(call.context);
      return ok({ n });
    },
  });
  const middle = await open({ node: 1, service: 'echo', memory });
  middle.ics.serve(echo, {
    slow: async ({ n }, call) => {
      await middle.ics.call(echo, 'slow', 3, { n }, { context: call.context });
      return ok({ n });
    },
  });
  const client = await open({ node: 0, service: 'cli2', memory });
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  await client.ics.call(echo, 'slow', 1, { n: 1 }, { context: { priority: 0, traceparent } });
  expect(seen).toHaveLength(1);
  expect(seen[0]?.priority).toBe(2);
  expect(seen[0]?.traceparent?.split('-')[1]).toBe('0af7651916cd43dd8448eb211c80319c');
});
