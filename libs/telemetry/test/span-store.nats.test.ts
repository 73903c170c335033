import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import {
  natsSpanStore,
  readTrace,
  recentTraces,
  type SpanRecord,
  spanStream,
} from '@ssi/telemetry';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasNatsServer, startNatsServer } from '../../ports/test/nats-server.ts';

const hex = (n: number, digits: number): string => n.toString(16).padStart(digits, '0');

const span = (trace: number, id: number, parent: number | null, startMs: number): SpanRecord => ({
  traceId: hex(trace, 32),
  spanId: hex(id, 16),
  parentSpanId: parent === null ? null : hex(parent, 16),
  name: parent === null ? `root ${trace}` : 'child',
  service: 'vproc',
  node: 1,
  kind: 'internal',
  startMs,
  durationMs: 2,
  status: 'unset',
  attributes: { 'ssi.pid': 65_601 },
});

describe.runIf(hasNatsServer)('telemetry: span store on NATS', () => {
  let server: Awaited<ReturnType<typeof startNatsServer>>;
  let nats: NatsConnection;
  beforeAll(async () => {
    server = await startNatsServer();
    nats = await connect({ servers: server.url });
  });
  afterAll(async () => {
    await nats?.close();
    await server?.stop();
  });

  test('before anything was published there is no trace, which is no error', async () => {
    expect(await readTrace(nats, 'empty', hex(1, 32))).toEqual({ ok: true, value: [] });
    expect(await recentTraces(nats, 'empty')).toEqual({ ok: true, value: [] });
  });

  test('batches of several services come back as one trace, by start', async () => {
    const store = natsSpanStore(nats, 'one');
    await store.publish(hex(1, 32), [span(1, 11, 10, 105)]);
    await store.publish(hex(2, 32), [span(2, 20, null, 300)]);
    await store.publish(hex(1, 32), [span(1, 10, null, 100), span(1, 12, 10, 103)]);
    const reply = await readTrace(nats, 'one', hex(1, 32));
    expect(reply).toEqual({
      ok: true,
      value: [span(1, 10, null, 100), span(1, 12, 10, 103), span(1, 11, 10, 105)],
    });
    const recent = await recentTraces(nats, 'one', 1);
    expect(recent.ok && recent.value.map((t) => t.name)).toEqual(['root 2']);
  });

  test('the stream is in memory and bounded by size and age', async () => {
    const info = await (await jetstreamManager(nats)).streams.info(spanStream('one'));
    expect(info.config).toMatchObject({
      storage: 'memory',
      max_bytes: 64 * 1024 * 1024,
      max_age: 3_600_000_000_000,
    });
  });

  test('a stream that was lost is made again by the next batches', async () => {
    const store = natsSpanStore(nats, 'lost');
    await store.publish(hex(1, 32), [span(1, 10, null, 100)]);
    await (await jetstreamManager(nats)).streams.delete(spanStream('lost'));
    await expect(store.publish(hex(1, 32), [span(1, 10, null, 100)])).rejects.toThrow();
    await store.publish(hex(1, 32), [span(1, 10, null, 100)]);
    const reply = await store.readTrace(hex(1, 32));
    expect(reply.ok && reply.value).toHaveLength(1);
  });

  test('more batches than one fetch, and nonsense between them, are read to the end', async () => {
    const store = natsSpanStore(nats, 'many');
    await store.publish(hex(1, 32), [span(1, 1, null, 0)]);
    nats.publish(`ssi.many.spans.${hex(1, 32)}`, 'not json');
    nats.publish(`ssi.many.spans.${hex(1, 32)}`, '[{"traceId":1}]');
    await Promise.all(
      Array.from({ length: 600 }, (_, i) => store.publish(hex(1, 32), [span(1, i + 2, 1, i)])),
    );
    const reply = await store.readTrace(hex(1, 32));
    expect(reply.ok && reply.value).toHaveLength(601);
  });

  test('a broker that is gone is EHOSTUNREACH, not an exception', async () => {
    const closed = await connect({ servers: server.url });
    await closed.close();
    expect(await natsSpanStore(closed, 'one').readTrace(hex(1, 32))).toMatchObject({
      ok: false,
      errno: 'EHOSTUNREACH',
    });
  });
});
