// A finished span as the built-in store keeps it: plain JSON, the fields `ssi trace` shows and little
// else. Start times are wall-clock, so between machines they are only as good as the clocks agree.
import type { HrTime } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { z } from 'zod';

export const spanRecord = z.object({
  traceId: z.string().regex(/^[0-9a-f]{32}$/),
  spanId: z.string().regex(/^[0-9a-f]{16}$/),
  /** null: the root of its trace. */
  parentSpanId: z.string().nullable(),
  name: z.string(),
  service: z.string(),
  /** Node number; 0: a client that is no member. */
  node: z.int().min(0),
  kind: z.enum(['internal', 'server', 'client', 'producer', 'consumer']),
  /** ms since 1970, with fraction. */
  startMs: z.number(),
  durationMs: z.number().min(0),
  status: z.enum(['unset', 'ok', 'error']),
  /** With `error`: errno and text. */
  message: z.string().optional(),
  attributes: z.record(z.string(), z.unknown()),
});
export type SpanRecord = z.infer<typeof spanRecord>;

const kindNames = ['internal', 'server', 'client', 'producer', 'consumer'] as const;
const statusNames = ['unset', 'ok', 'error'] as const;
const ms = ([seconds, nanos]: HrTime): number => seconds * 1000 + nanos / 1e6;

/** Attributes that may override the resource where several services share a process. */
const nodeAttribute = 'ssi.node';
const serviceAttribute = 'ssi.service';

export function recordOf(span: ReadableSpan): SpanRecord {
  const { traceId, spanId } = span.spanContext();
  const of = (name: string): unknown => span.attributes[name] ?? span.resource.attributes[name];
  const { message } = span.status;
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId ?? null,
    name: span.name,
    service: String(
      span.attributes[serviceAttribute] ?? span.resource.attributes['service.name'] ?? '',
    ),
    node: Number(of(nodeAttribute) ?? 0),
    kind: kindNames[span.kind] ?? 'internal',
    startMs: ms(span.startTime),
    durationMs: Math.max(0, ms(span.duration)),
    status: statusNames[span.status.code] ?? 'unset',
    ...(message !== undefined && { message }),
    attributes: { ...span.attributes },
  };
}
