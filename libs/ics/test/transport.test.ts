// The port suite on each transport.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { ServiceEndpoint } from '@ssi/contracts';
import { afterAll, beforeAll, expect } from 'vitest';
import { type NatsServer, startNatsServer } from '../../ports/test/nats-server.ts';
import { natsBridge } from '../src/bridge.nats.ts';
import { MemoryBus } from '../src/transport.memory.ts';
import { natsTransport } from '../src/transport.nats.ts';
import { type TcpTransport, tcpTransport } from '../src/transport.tcp.ts';
import { enterUnixDoor, openUnixDoor } from '../src/transport.unix.ts';
import { realClock } from './real-clock.ts';
import { transportSuite } from './transport.suite.ts';

transportSuite('memory', async () => {
  const bus = new MemoryBus();
  return {
    transport: async (node, service) => bus.transport({ node, service }),
    close: async () => {},
  };
});

transportSuite('memory of another process', async () => {
  const bus = new MemoryBus();
  const dir = mkdtempSync(join(tmpdir(), 'ssi-unix-'));
  const path = join(dir, 'bus.sock');
  const door = await openUnixDoor({
    ...{ path, cluster: 'test', servers: () => bus.servers() },
    transport: (self) => bus.transport(self),
    answer: async () => undefined,
  });
  return {
    transport: async (node, service) => {
      const entered = await enterUnixDoor(path, 'test', { node, service });
      if (!entered.ok) throw new Error(entered.detail);
      return entered.value.transport;
    },
    close: async () => {
      await door.close();
      rmSync(dir, { recursive: true });
    },
  };
});

let nats: NatsServer;
let secondNats: NatsServer;
beforeAll(async () => {
  [nats, secondNats] = await Promise.all([startNatsServer(), startNatsServer()]);
});
afterAll(async () => {
  await nats.stop();
  await secondNats.stop();
});

let clusters = 0;
transportSuite('nats', async () => {
  const connections: NatsConnection[] = [];
  const cluster = `test${clusters++}`;
  return {
    transport: async (node, service) => {
      const connection = await connect({ servers: nats.url });
      connections.push(connection);
      return natsTransport({ connection, cluster, self: { node, service } });
    },
    close: async () => {
      for (const c of connections) await c.close();
    },
  };
});

/** Odd nodes on one bus, even ones on the other: most calls of the suite are from an even one to an odd one. */
transportSuite('nats, two buses and a bridge', async () => {
  const cluster = `test${clusters++}`;
  const connections: NatsConnection[] = [];
  const open = async (servers: string, noEcho: boolean): Promise<NatsConnection> => {
    const connection = await connect({ servers, noEcho });
    connections.push(connection);
    return connection;
  };
  const bridge = natsBridge({
    cluster,
    first: await open(nats.url, true),
    second: await open(secondNats.url, true),
    onNode: () => {},
  });
  bridge.setHomes(new Map([1, 2, 3, 4, 5, 6, 7].map((n) => [n, n % 2 ? 'first' : 'second'])));
  for (const c of connections) await c.flush();
  return {
    transport: async (node, service) => {
      const { url } = node % 2 ? nats : secondNats;
      return natsTransport({
        connection: await open(url, false),
        cluster,
        self: { node, service },
      });
    },
    close: async () => {
      expect(bridge.counters().forwarded).toBeGreaterThan(0);
      bridge.close();
      for (const c of connections) await c.close();
    },
  };
});

transportSuite('tcp', async () => {
  const cluster = `test${clusters++}`;
  const all: TcpTransport[] = [];
  const map = new Map<string, ServiceEndpoint>();
  return {
    transport: async (node, service) => {
      const transport = tcpTransport({ cluster, clock: realClock });
      const port = await transport.listen(0, '127.0.0.1');
      all.push(transport);
      map.set(`${node}/${service}`, {
        node,
        service,
        incarnation: { bootCount: 1, bootId: '0'.repeat(16) },
        bootId: `${all.length}`.padStart(16, '0'),
        tcp: [{ host: '127.0.0.1', port }],
      });
      for (const t of all) t.setMap([...map.values()]);
      return transport;
    },
    close: async () => {},
  };
});
