// Spans of calls: client and server, one trace; none where nobody traces.
import { type Context, type Span, type SpanOptions, type Tracer, trace } from '@opentelemetry/api';
import { ok } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import { expect, test } from 'vitest';
import { createIcs } from '../src/ics.ts';
import { MemoryBus } from '../src/transport.memory.ts';
import { echo } from './echo.contract.ts';
import { realClock } from './real-clock.ts';

interface Seen {
  name: string;
  kind: number | undefined;
  attributes: Record<string, unknown>;
  spanId: string;
  parentSpanId: string | undefined;
  ended: boolean;
}

/** Records spans; ids count up. */
function recorder(seen: Seen[]): Tracer {
  const startSpan = (name: string, options?: SpanOptions, context?: Context): Span => {
    const parent = context && trace.getSpanContext(context);
    const spanId = `${seen.length + 1}`.padStart(16, '0');
    const entry: Seen = {
      name,
      kind: options?.kind,
      attributes: { ...options?.attributes },
      spanId,
      parentSpanId: parent?.spanId,
      ended: false,
    };
    seen.push(entry);
    const span = {
      spanContext: () => ({ traceId: parent?.traceId ?? '', spanId, traceFlags: 1 }),
      setAttribute: (key: string, value: unknown) => {
        entry.attributes[key] = value;
        return span;
      },
      setStatus: () => span,
      end: () => {
        entry.ended = true;
      },
    };
    return span as unknown as Span;
  };
  return { startSpan } as unknown as Tracer;
}

test('ICS: trace: client and server span of one trace; no span without a trace', async () => {
  const seen: Seen[] = [];
  const bus = new MemoryBus();
  const make = (node: number, service: string) =>
    createIcs({
      node,
      service,
      clock: realClock,
      random: seededRandom(node + 1),
      transports: [bus.transport({ node, service })],
      tracer: recorder(seen),
    });
  const server = make(1, 'echo');
  server.serve(echo, {
    say: ({ n }) => (n > 0 ? ok({ n, size: 0 }) : { ok: false, errno: 'ENOENT', detail: 'none' }),
  });
  const client = make(2, 'vproc');
  await client.call(echo, 'say', 1, { n: 1 });
  await client.call(echo, 'say', 1, { n: 1 }, { context: { priority: 0 } });
  expect(seen).toEqual([]);
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  await client.call(echo, 'say', 1, { n: -1 }, { context: { priority: 0, traceparent } });
  expect(seen.map((s) => [s.name, s.kind, s.parentSpanId, s.ended])).toEqual([
    ['echo.say', 2, 'b7ad6b7169203331', true],
    ['echo.say', 1, seen[0]?.spanId, true],
  ]);
  expect(seen[0]?.attributes).toMatchObject({
    'rpc.system.name': 'ssi',
    'rpc.service': 'echo',
    'rpc.method': 'echo/say',
    'ssi.node': 2,
    'ssi.peer': '1-echo',
    'error.type': 'ENOENT',
  });
  expect(seen[1]?.attributes).toMatchObject({ 'ssi.node': 1, 'ssi.peer': '2-vproc' });
  await client.close();
  await server.close();
});
