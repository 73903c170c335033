// The receiver fed by OpenTelemetry's own exporter, in JSON, and by bytes of its own protobuf serializer.
import { gzipSync } from 'node:zlib';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  InMemorySpanExporter,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  memorySpanStore,
  type OtlpReceiver,
  startOtlpReceiver,
  startTelemetry,
} from '../src/index.ts';
import { manualClock } from './manual-clock.ts';

const store = memorySpanStore();
let fails = false;
let receiver: OtlpReceiver;
let url = '';
beforeAll(async () => {
  const started = await startOtlpReceiver({
    ...{ host: '127.0.0.1', port: 0 },
    store: {
      publish: async (traceId, spans) => {
        if (fails) throw new Error('away');
        await store.publish(traceId, spans);
      },
    },
  });
  if (!started.ok) throw new Error(started.detail);
  receiver = started.value;
  url = `http://127.0.0.1:${receiver.port}`;
});
afterAll(() => receiver.close());

const post = (body: string | Uint8Array, headers: Record<string, string>, path = '/v1/traces') =>
  fetch(`${url}${path}`, { method: 'POST', body: Buffer.from(body), headers }).then(
    (r) => r.status,
  );
const json = { 'content-type': 'application/json' };
const protobuf = { 'content-type': 'application/x-protobuf' };

test('OTLP: what our own exporter sends is in the store as the same span', async () => {
  const telemetry = await startTelemetry({
    ...{ service: 'web', node: 2, cluster: 'c', otlpEndpoint: url, global: false },
    clock: manualClock(),
  });
  const span = telemetry.tracer.startSpan('GET /', { attributes: { a: 'x', n: 3, b: true } });
  const { traceId, spanId } = span.spanContext();
  span.end();
  await telemetry.stop();
  expect(await store.readTrace(traceId)).toMatchObject({
    value: [
      {
        ...{ traceId, spanId, parentSpanId: null, name: 'GET /', service: 'web', node: 2 },
        attributes: { a: 'x', n: 3, b: true },
      },
    ],
  });
});

test('OTLP: protobuf, packed or not, gives the same as JSON', async () => {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'py' }),
    spanProcessors: [new SimpleSpanProcessor({ exporter })],
  });
  const tracer = provider.getTracer('t');
  const span = tracer.startSpan('work', {
    attributes: { text: 'ä', whole: -5, part: 0.25, yes: true },
  });
  span.setStatus({ code: 2, message: 'EIO it broke' });
  span.end();
  const bytes = ProtobufTraceSerializer.serializeRequest(exporter.getFinishedSpans());
  if (!bytes) throw new Error('nothing serialized');
  expect(await post(bytes, protobuf)).toBe(200);
  const { traceId } = span.spanContext();
  const stored = await store.readTrace(traceId);
  expect(stored).toMatchObject({
    value: [
      {
        ...{ name: 'work', service: 'py', node: 0, status: 'error', message: 'EIO it broke' },
        attributes: { text: 'ä', whole: -5, part: 0.25, yes: true },
      },
    ],
  });
  expect(await post(gzipSync(bytes), { ...protobuf, 'content-encoding': 'gzip' })).toBe(200);
  expect(await store.readTrace(traceId)).toEqual(stored);
});

test('OTLP: what is none is refused and counted, and the receiver goes on', async () => {
  expect(await post('{', json)).toBe(400);
  expect(await post('{"resourceSpans":3}', json)).toBe(400);
  expect(await post(Uint8Array.of(10, 200), protobuf)).toBe(400);
  expect(await post('x', { 'content-type': 'text/plain' })).toBe(415);
  expect(await post('x', { ...json, 'content-encoding': 'gzip' })).toBe(400);
  expect(await post('{}', json, '/v1/metrics')).toBe(404);
  expect(await post('{}', json)).toBe(200);
  fails = true;
  const spans = [
    {
      traceId: 'a'.repeat(32),
      spanId: 'b'.repeat(16),
      startTimeUnixNano: '1',
      endTimeUnixNano: '2',
    },
  ];
  const request = JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] });
  expect(await post(request, json)).toBe(503);
  fails = false;
  expect(await post(request, json)).toBe(200);
  expect(receiver.counters().failed).toBe(7);
});
