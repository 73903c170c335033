// A direct way that goes silent without breaking, under traffic: over to the bus and back, nothing lost,
// nothing run twice, order kept.
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { ok } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import { afterEach, expect, test } from 'vitest';
import { startNatsServer } from '../../ports/test/nats-server.ts';
import { createEndpoint, type Endpoint } from '../src/endpoint.ts';
import { echo } from './echo.contract.ts';
import { realClock } from './real-clock.ts';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const c of cleanups.splice(0).reverse()) await c();
});

/** Passes bytes on, or holds them when told so: as a network that drops everything looks to TCP. */
async function interconnect(port: number, delayMs = 0) {
  const sockets = new Set<Socket>();
  let silent = false;
  const add = (socket: Socket, other: Socket): void => {
    sockets.add(socket);
    socket.on('data', (chunk) => {
      if (delayMs > 0) setTimeout(() => other.write(chunk), delayMs);
      else other.write(chunk);
    });
    socket.on('close', () => {
      sockets.delete(socket);
      other.destroy();
    });
    socket.on('error', () => {});
    if (silent) socket.pause();
  };
  const server: Server = createServer((near) => {
    const far = createConnection({ port, host: '127.0.0.1' });
    add(near, far);
    add(far, near);
  });
  await new Promise<void>((done) => {
    server.listen(0, '127.0.0.1', done);
  });
  const at = server.address();
  const set = (to: boolean): void => {
    silent = to;
    for (const s of sockets) to ? s.pause() : s.resume();
  };
  return {
    port: typeof at === 'object' && at ? at.port : 0,
    set,
    close: () =>
      new Promise<void>((done) => {
        server.close(() => done());
        for (const s of sockets) s.destroy();
      }),
  };
}

async function open(node: number, service: string, nats: string): Promise<Endpoint> {
  const made = await createEndpoint({
    cluster: 'test',
    node,
    service,
    clock: realClock,
    random: seededRandom(node * 1_000 + 7),
    nats,
    tcp: { host: '127.0.0.1' },
  });
  if (!made.ok) throw new Error(made.detail);
  cleanups.push(() => made.value.close());
  return made.value;
}

test('ICS: failover: a silent interconnect under traffic, over to the bus and back', async () => {
  const nats = await startNatsServer();
  cleanups.push(() => nats.stop());
  // The bus is the slower way for sure, else nothing brings the traffic back.
  const bus = await interconnect(Number(new URL(nats.url).port), 5);
  cleanups.push(bus.close);
  const busUrl = `nats://127.0.0.1:${bus.port}`;
  const server = await open(1, 'echo', busUrl);
  const ran: number[] = [];
  server.ics.serve(echo, {
    say: ({ n }) => {
      ran.push(n);
      return ok({ n, size: 0 });
    },
  });
  const way = await interconnect(server.tcpPort);
  cleanups.push(way.close);
  const client = await open(2, 'vproc', busUrl);
  client.setMap([
    {
      node: 1,
      service: 'echo',
      bootId: server.ics.self.bootId,
      incarnation: { bootCount: 1, bootId: '0'.repeat(16) },
      tcp: [{ host: '127.0.0.1', port: way.port }],
    },
  ]);
  let n = 0;
  const used = () => client.ics.peers()[0]?.transport;
  /** Eight at a time until the traffic goes the way that is asked for. */
  const callUntil = async (transport: string): Promise<void> => {
    do {
      const calls = Array.from({ length: 8 }, () =>
        client.ics.call(echo, 'say', 1, { n: n++ }, { waitForServer: true }),
      );
      const first = n - 8;
      const replies = await Promise.all(calls);
      expect(replies.map((r) => r.ok && r.value.n)).toEqual(calls.map((_, i) => first + i));
    } while (used() !== transport);
  };
  for (let round = 0; round < 3; round++) {
    await callUntil('tcp');
    way.set(true);
    await callUntil('nats');
    way.set(false);
  }
  await callUntil('tcp');
  expect(ran).toEqual(Array.from({ length: n }, (_, i) => i));
  expect(n).toBeGreaterThan(50);
}, 60_000);
