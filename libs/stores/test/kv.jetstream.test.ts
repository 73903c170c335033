import { once } from 'node:events';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { hasNatsServer, startNatsServer } from '../../ports/test/nats-server.ts';
import { openJetStreamKv } from '../src/index.ts';
import { kvSuite } from './kv.suite.ts';

kvSuite('JetStream', async () => {
  const server = await startNatsServer();
  const connections: NatsConnection[] = [];
  /** Called before the server stops: resolves when every client has connected again. */
  const reconnected = (): Promise<unknown> =>
    Promise.all(
      connections.map(async (c) => {
        for await (const s of c.status()) if (s.type === 'reconnect') return;
      }),
    );
  return {
    async open() {
      const connection = await connect({
        servers: server.url,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 50,
        reconnectJitter: 0,
      });
      connections.push(connection);
      return openJetStreamKv({ connection, bucket: 'ssi_suite', timeoutMs: 1_000 });
    },
    async forget() {
      const back = reconnected();
      await server.kill();
      await server.start({ empty: true });
      await back;
    },
    async away() {
      const back = reconnected();
      await server.kill();
      return async () => {
        await server.start();
        await back;
      };
    },
    async stop() {
      for (const c of connections) await c.close();
      await server.stop();
    },
  };
});

test.skipIf(!hasNatsServer)(
  'a watch that the server was too busy to begin begins later',
  async () => {
    const server = await startNatsServer();
    const connection = await connect({ servers: server.url });
    try {
      const bucket = 'ssi_busy';
      const writer = openJetStreamKv({ connection, bucket, timeoutMs: 10_000 });
      await writer.compareAndSet('k', new TextEncoder().encode('there'), 0);
      await writer.close();
      const kv = openJetStreamKv({ connection, bucket, timeoutMs: 300 });
      server.pause();
      const entries = new EventTarget();
      kv.watch('k', ({ value }) => {
        entries.dispatchEvent(
          new CustomEvent('entry', { detail: new TextDecoder().decode(value) }),
        );
      });
      // What is asked after the watch has waited as long as it had.
      expect(await kv.get('k')).toMatchObject({ errno: 'ETIMEDOUT' });
      const first = once(entries, 'entry');
      server.resume();
      expect(await first).toMatchObject([{ detail: 'there' }]);
      await kv.close();
    } finally {
      await connection.close();
      await server.stop();
    }
  },
);
