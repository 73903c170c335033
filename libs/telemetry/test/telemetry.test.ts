import { createServer } from 'node:http';
import { trace } from '@opentelemetry/api';
import { fail, ok } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import {
  beginSpan,
  isAlwaysKept,
  memorySpanStore,
  orderSpans,
  parseTraceparent,
  type SpanRecord,
  startTelemetry,
  summarize,
  withSpan,
} from '@ssi/telemetry';
import { describe, expect, test } from 'vitest';
import { manualClock } from './manual-clock.ts';

const start = async (extra: { sample?: number; seed?: number; otlpEndpoint?: string } = {}) => {
  const clock = manualClock();
  const store = memorySpanStore();
  const telemetry = await startTelemetry({
    service: 'vproc',
    node: 2,
    cluster: 'test',
    store,
    clock,
    random: seededRandom(extra.seed ?? 7),
    global: false,
    ...(extra.sample !== undefined && { sample: extra.sample }),
    ...(extra.otlpEndpoint !== undefined && { otlpEndpoint: extra.otlpEndpoint }),
  });
  return { clock, store, telemetry, tracer: telemetry.tracer };
};

const read = async (
  store: ReturnType<typeof memorySpanStore>,
  id: string,
): Promise<SpanRecord[]> => {
  const reply = await store.readTrace(id);
  return reply.ok ? reply.value : [];
};

describe('telemetry: spans', () => {
  test('a child made with the traceparent it was handed is stored under its parent, with service and node', async () => {
    const { clock, store, telemetry, tracer } = await start();
    let traceId = '';
    await withSpan(tracer, 'migrate', {}, async (outer, span) => {
      traceId = span.traceId ?? '';
      await withSpan(
        tracer,
        'freeze',
        { parent: outer, attributes: { 'ssi.pid': 65_601 } },
        () => {},
      );
    });
    await clock.advance(250);
    const spans = await read(store, traceId);
    const root = spans.find((s) => s.name === 'migrate');
    const child = spans.find((s) => s.name === 'freeze');
    expect(root).toMatchObject({
      parentSpanId: null,
      service: 'vproc',
      node: 2,
      status: 'unset',
    });
    expect(child).toMatchObject({
      parentSpanId: root?.spanId,
      attributes: { 'ssi.pid': 65_601 },
    });
    expect(telemetry.counters()).toMatchObject({ ended: 2, published: 2, dropped: 0, waiting: 0 });
    await telemetry.stop();
  });

  test('nothing is published before the flush interval, everything at stop', async () => {
    const { clock, store, telemetry, tracer } = await start();
    const span = beginSpan(tracer, 'run');
    span.end();
    await clock.advance(100);
    expect(await read(store, span.traceId ?? '')).toEqual([]);
    await telemetry.stop();
    expect(await read(store, span.traceId ?? '')).toHaveLength(1);
  });

  test('a failed Reply and an exception both end the span as an error, with the errno', async () => {
    const { store, telemetry, tracer } = await start();
    const refused = beginSpan(tracer, 'migrate');
    refused.end(fail('ECANCELED', 'restore failed'));
    refused.end(ok());
    await expect(
      withSpan(tracer, 'run', { parent: refused.traceparent }, () => {
        throw new Error('boom');
      }),
    ).rejects.toThrow('boom');
    await telemetry.stop();
    const spans = await read(store, refused.traceId ?? '');
    expect(spans.map((s) => [s.name, s.status, s.message]).sort()).toEqual([
      ['migrate', 'error', 'ECANCELED restore failed'],
      ['run', 'error', 'boom'],
    ]);
    expect(spans.find((s) => s.name === 'migrate')?.attributes['error.type']).toBe('ECANCELED');
  });

  test('ids come from the injected source: the same seed gives the same ids', async () => {
    const ids = await Promise.all(
      [1, 1, 2].map(async (seed) => {
        const { tracer, telemetry } = await start({ seed });
        const span = beginSpan(tracer, 'x');
        span.end();
        await telemetry.stop();
        return span.traceparent;
      }),
    );
    expect(ids[0]).toBe(ids[1]);
    expect(ids[0]).not.toBe(ids[2]);
  });

  test('with ratio 0 an ordinary root is not kept, a move and its children are', async () => {
    const { store, telemetry, tracer } = await start({ sample: 0 });
    const plain = beginSpan(tracer, 'vproc.list');
    plain.end();
    const move = beginSpan(tracer, 'migrate');
    beginSpan(tracer, 'vproc.moveRestore', { parent: move.traceparent }).end();
    move.end();
    await telemetry.stop();
    expect(await read(store, plain.traceId ?? '')).toEqual([]);
    expect(await read(store, move.traceId ?? '')).toHaveLength(2);
    expect(isAlwaysKept('clms.step')).toBe(true);
    expect(isAlwaysKept('ssi.migrate')).toBe(true);
    expect(isAlwaysKept('vproc.list')).toBe(false);
  });

  test('without an SDK the traceparent of the caller is passed on unchanged', async () => {
    const parent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
    const noop = trace.getTracer('nothing-is-registered');
    await withSpan(noop, 'x', { parent }, (traceparent) => {
      expect(traceparent).toBe(parent);
    });
    await withSpan(noop, 'x', {}, (traceparent) => {
      expect(traceparent).toBeUndefined();
    });
  });

  test('traceparent: what is not valid starts a new trace', () => {
    expect(parseTraceparent('00-zz-11-01')).toBeUndefined();
    expect(parseTraceparent(`00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`)).toBeUndefined();
    expect(parseTraceparent(`00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`)?.traceFlags).toBe(1);
  });
});

describe('telemetry: a store that is away', () => {
  test('spans wait for it and are published once it is back', async () => {
    const clock = manualClock();
    const store = memorySpanStore();
    let away = true;
    const waiting = await startTelemetry({
      service: 's',
      node: 1,
      cluster: 'test',
      clock,
      global: false,
      store: {
        publish: (id, spans) =>
          away ? Promise.reject(new Error('away')) : store.publish(id, spans),
      },
    });
    const span = beginSpan(waiting.tracer, 'run');
    span.end();
    await clock.advance(3_000);
    expect(waiting.counters()).toMatchObject({ published: 0, waiting: 1 });
    away = false;
    await clock.advance(10_000);
    expect(waiting.counters()).toMatchObject({ published: 1, dropped: 0 });
    expect(await read(store, span.traceId ?? '')).toHaveLength(1);
    await waiting.stop();
  });

  test('past the bound spans are dropped and counted, never more kept', async () => {
    const clock = manualClock();
    const telemetry = await startTelemetry({
      service: 's',
      node: 1,
      cluster: 'test',
      clock,
      global: false,
      store: { publish: () => Promise.reject(new Error('away')) },
    });
    for (let i = 0; i < 5_000; i++) beginSpan(telemetry.tracer, 'run').end();
    await clock.advance(60_000);
    expect(telemetry.counters()).toEqual({
      ended: 5_000,
      published: 0,
      dropped: 904,
      waiting: 4_096,
    });
    await telemetry.stop();
    expect(telemetry.counters()).toMatchObject({ dropped: 5_000, waiting: 0 });
  });
});

describe('telemetry: reading', () => {
  const span = (id: string, parent: string | null, startMs: number): SpanRecord => ({
    traceId: 'a'.repeat(32),
    spanId: id,
    parentSpanId: parent,
    name: id,
    service: 's',
    node: 1,
    kind: 'internal',
    startMs,
    durationMs: 10,
    status: 'unset',
    attributes: {},
  });

  test('a batch that was stored twice shows each span once, parents first', () => {
    const spans = [span('b', 'a', 5), span('a', null, 5), span('b', 'a', 5), span('c', 'b', 9)];
    expect(orderSpans(spans).map((s) => s.spanId)).toEqual(['a', 'b', 'c']);
  });

  test('a trace with a cycle of parents still ends', () => {
    expect(orderSpans([span('a', 'b', 1), span('b', 'a', 1)])).toHaveLength(2);
  });

  test('the summary is named after the root and lasts to the last end', () => {
    expect(summarize('x', [span('c', 'a', 20), span('a', null, 5)])).toMatchObject({
      name: 'a',
      startMs: 5,
      durationMs: 25,
      spans: 2,
      status: 'ok',
    });
  });
});

test('telemetry: an OTLP receiver gets the same spans over HTTP', async () => {
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      bodies.push(`${request.url} ${body}`);
      response.end('{}');
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const { telemetry, tracer } = await start({ otlpEndpoint: `http://127.0.0.1:${address.port}/` });
  beginSpan(tracer, 'migrate').end();
  await telemetry.stop();
  await new Promise((done) => server.close(done));
  expect(bodies).toHaveLength(1);
  expect(bodies[0]).toMatch(/^\/v1\/traces .*"migrate"/);
});
