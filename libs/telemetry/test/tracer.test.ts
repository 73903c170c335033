// What is decided before a span is made, and what must not be dropped.
import { seededRandom } from '@ssi/ports';
import {
  beginSpan,
  droppedAttribute,
  parseSample,
  type SpanRecord,
  startTelemetry,
} from '@ssi/telemetry';
import { expect, test } from 'vitest';
import { manualClock } from './manual-clock.ts';

const start = async (sample: number) => {
  const clock = manualClock();
  const stored: SpanRecord[] = [];
  const store = {
    up: true,
    publish: async (_: string, spans: readonly SpanRecord[]) => {
      if (!store.up) throw new Error('away');
      stored.push(...spans);
    },
  };
  const telemetry = await startTelemetry({
    ...{ service: 'vproc', node: 2, cluster: 'test', store, clock, sample },
    ...{ random: seededRandom(7), global: false },
  });
  return { clock, store, stored, telemetry, tracer: telemetry.tracer };
};

test('telemetry: what is not kept makes no span, and passes a context on that says so', async () => {
  const { stored, telemetry, tracer } = await start(0);
  const root = beginSpan(tracer, 'ps');
  const child = beginSpan(tracer, 'vproc.list', { parent: root.traceparent });
  child.end();
  root.end();
  await telemetry.flush();
  expect(root.traceparent).toMatch(/^00-(?!ff)[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  expect(child.traceparent).toBe(root.traceparent);
  expect(beginSpan(tracer, 'ps').traceId).not.toBe(root.traceId);
  expect(stored).toEqual([]);
  expect(telemetry.counters().ended).toBe(0);
});

test('telemetry: one of ten is kept with 0.1', async () => {
  const { telemetry, tracer } = await start(0.1);
  for (let i = 0; i < 1_000; i++) beginSpan(tracer, 'ps').end();
  const { ended } = telemetry.counters();
  expect(ended).toBeGreaterThan(60);
  expect(ended).toBeLessThan(140);
});

test('telemetry: a full queue drops ordinary spans, counts and tells them, but no span of a move', async () => {
  const { store, stored, telemetry, tracer } = await start(1);
  store.up = false;
  for (let i = 0; i < 5_000; i++) beginSpan(tracer, 'ps').end();
  const move = beginSpan(tracer, 'migrate');
  for (let i = 0; i < 5_000; i++)
    beginSpan(tracer, 'vproc.freeze', { parent: move.traceparent }).end();
  move.end();
  await telemetry.flush();
  const { dropped } = telemetry.counters();
  expect(dropped).toBe(5_000 - 4_096);

  store.up = true;
  await telemetry.flush();
  expect(stored.filter((s) => s.traceId === move.traceId)).toHaveLength(5_001);
  expect(telemetry.counters()).toMatchObject({ dropped, waiting: 0 });
  expect(stored.reduce((n, s) => n + Number(s.attributes[droppedAttribute] ?? 0), 0)).toBe(dropped);
});

test('telemetry: SSI_TRACE_SAMPLE is a part, and everything when it is not set', () => {
  expect(parseSample(undefined)).toBe(1);
  expect(parseSample('0.01')).toBe(0.01);
  for (const text of ['2', '-1', 'all', 'NaN']) expect(parseSample(text)).toBeUndefined();
});
