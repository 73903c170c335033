// OTLP's export request for traces, in JSON and in protobuf, as the spans that the built-in store keeps.
// Of a span's events and links nothing is kept. [OTLP 1.x: trace/v1/trace.proto]
import { z } from 'zod';
import { bytesIn, type Fields, hexIn, numberIn, readFields, textIn } from './protobuf.ts';
import { type SpanRecord, spanRecord } from './span-record.ts';

const anyValue = z.looseObject({
  stringValue: z.string().optional(),
  boolValue: z.boolean().optional(),
  /** 64 bits: a decimal string, in practice also a number. */
  intValue: z.union([z.string(), z.number()]).optional(),
  doubleValue: z.number().optional(),
});
const attributes = z.array(z.object({ key: z.string(), value: anyValue })).default([]);
const nanos = z.union([z.string(), z.number()]);

const otlpSpan = z.object({
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().default(''),
  name: z.string().default(''),
  kind: z.int().default(0),
  startTimeUnixNano: nanos,
  endTimeUnixNano: nanos,
  attributes,
  status: z
    .object({ code: z.int().default(0), message: z.string().optional() })
    .default({ code: 0 }),
});
const exportRequest = z.object({
  resourceSpans: z
    .array(
      z.object({
        resource: z.object({ attributes }).default({ attributes: [] }),
        scopeSpans: z.array(z.object({ spans: z.array(otlpSpan).default([]) })).default([]),
      }),
    )
    .default([]),
});
type ExportRequest = z.infer<typeof exportRequest>;
type Attributes = z.infer<typeof attributes>;

/** 0: unspecified, as internal. [SpanKind] */
const kinds = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'] as const;
const statuses = ['unset', 'ok', 'error'] as const;

const plain = (list: Attributes): Record<string, unknown> =>
  Object.fromEntries(
    list.map(({ key, value: v }) => [
      key,
      v.stringValue ??
        v.boolValue ??
        v.doubleValue ??
        (v.intValue === undefined ? v : Number(v.intValue)),
    ]),
  );

function recordsOf(request: ExportRequest): { spans: SpanRecord[]; rejected: number } {
  const spans: SpanRecord[] = [];
  let rejected = 0;
  for (const { resource, scopeSpans } of request.resourceSpans) {
    const of = plain(resource.attributes);
    for (const s of scopeSpans.flatMap((scope) => scope.spans)) {
      const startMs = Number(s.startTimeUnixNano) / 1e6;
      const record = spanRecord.safeParse({
        traceId: s.traceId.toLowerCase(),
        spanId: s.spanId.toLowerCase(),
        parentSpanId: s.parentSpanId === '' ? null : s.parentSpanId.toLowerCase(),
        name: s.name,
        service: String(of['service.name'] ?? ''),
        node: Number(of['ssi.node'] ?? 0),
        kind: kinds[s.kind] ?? 'internal',
        startMs,
        durationMs: Math.max(0, Number(s.endTimeUnixNano) / 1e6 - startMs),
        status: statuses[s.status.code] ?? 'unset',
        ...(s.status.message && { message: s.status.message }),
        attributes: plain(s.attributes),
      });
      if (record.success) spans.push(record.data);
      else rejected++;
    }
  }
  return { spans, rejected };
}

const messagesIn = (fields: Fields, field: number): Fields[] =>
  bytesIn(fields, field).map(readFields);

function double(bits: bigint): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}

const attributesIn = (fields: Fields, field: number): Attributes =>
  messagesIn(fields, field).map((pair) => {
    const value = messagesIn(pair, 2)[0] ?? new Map();
    return {
      key: textIn(pair, 1),
      value: {
        ...(value.has(1) && { stringValue: textIn(value, 1) }),
        ...(value.has(2) && { boolValue: numberIn(value, 2) !== 0n }),
        ...(value.has(3) && { intValue: String(BigInt.asIntN(64, numberIn(value, 3))) }),
        ...(value.has(4) && { doubleValue: double(numberIn(value, 4)) }),
      },
    };
  });

/** The JSON form of a protobuf request. */
const fromProtobuf = (body: Uint8Array): unknown => ({
  resourceSpans: messagesIn(readFields(body), 1).map((r) => ({
    resource: { attributes: messagesIn(r, 1).flatMap((resource) => attributesIn(resource, 1)) },
    scopeSpans: messagesIn(r, 2).map((scope) => ({
      spans: messagesIn(scope, 2).map((s) => {
        const status = messagesIn(s, 15)[0];
        return {
          traceId: hexIn(s, 1),
          spanId: hexIn(s, 2),
          parentSpanId: hexIn(s, 4),
          name: textIn(s, 5),
          kind: Number(numberIn(s, 6)),
          startTimeUnixNano: String(numberIn(s, 7)),
          endTimeUnixNano: String(numberIn(s, 8)),
          attributes: attributesIn(s, 9),
          ...(status && {
            status: { message: textIn(status, 2), code: Number(numberIn(status, 3)) },
          }),
        };
      }),
    })),
  })),
});

/** undefined: no such request. `rejected`: spans whose ids are none. */
export function decodeOtlp(
  body: Uint8Array,
  format: 'json' | 'protobuf',
): { spans: SpanRecord[]; rejected: number } | undefined {
  try {
    const raw = format === 'json' ? JSON.parse(new TextDecoder().decode(body)) : fromProtobuf(body);
    const request = exportRequest.safeParse(raw);
    return request.success ? recordsOf(request.data) : undefined;
  } catch {
    return undefined;
  }
}
