// Spans with explicit context: `withSpan` around a function, `beginSpan` where begin and end lie in
// different steps of a machine. Without an SDK both cost a no-op object and pass the parent on.
import {
  type Attributes,
  type HrTime,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
} from '@opentelemetry/api';
import { contextOf, formatTraceparent } from './traceparent.ts';

export interface SpanOptions {
  /** traceparent of the parent; absent: the span begins a trace. */
  readonly parent?: string | undefined;
  readonly attributes?: Attributes;
  readonly kind?: 'internal' | 'server' | 'client' | 'producer' | 'consumer';
  /** ms since 1970; absent: now. */
  readonly startMs?: number;
}

export interface OpenSpan {
  /** For the calls made inside this span; undefined when there is no trace at all. */
  readonly traceparent: string | undefined;
  /** 32 hex digits, undefined as above. */
  readonly traceId: string | undefined;
  setAttributes(attributes: Attributes): void;
  event(name: string, attributes?: Attributes): void;
  /**
   * Ends it, once; later calls do nothing. A failed Reply makes it an error with its errno.
   * `endMs` is ms since 1970; absent: now.
   */
  end(outcome?: unknown, endMs?: number): void;
}

const kinds = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const;

const hrTime = (ms: number): HrTime => [Math.floor(ms / 1000), Math.round((ms % 1000) * 1e6)];

interface FailureLike {
  readonly ok: false;
  readonly errno: string;
  readonly detail?: string;
}
const isFailure = (v: unknown): v is FailureLike =>
  typeof v === 'object' && v !== null && 'ok' in v && v.ok === false && 'errno' in v;

function settle(span: Span, outcome: unknown): void {
  if (isFailure(outcome)) {
    span.setAttribute('error.type', outcome.errno);
    span.setStatus({
      code: SpanStatusCode.ERROR,
      message: `${outcome.errno} ${outcome.detail ?? ''}`.trim(),
    });
  } else if (outcome instanceof Error) {
    span.recordException(outcome);
    span.setStatus({ code: SpanStatusCode.ERROR, message: outcome.message });
  }
}

export function beginSpan(tracer: Tracer, name: string, options: SpanOptions = {}): OpenSpan {
  const span = tracer.startSpan(
    name,
    {
      kind: kinds[options.kind ?? 'internal'],
      ...(options.attributes && { attributes: options.attributes }),
      ...(options.startMs !== undefined && { startTime: hrTime(options.startMs) }),
    },
    contextOf(options.parent),
  );
  const traceparent = formatTraceparent(span.spanContext());
  let ended = false;
  return {
    traceparent,
    traceId: traceparent && span.spanContext().traceId,
    setAttributes: (attributes) => void span.setAttributes(attributes),
    event: (text, attributes) => void span.addEvent(text, attributes),
    end: (outcome, endMs) => {
      if (ended) return;
      ended = true;
      settle(span, outcome);
      span.end(endMs === undefined ? undefined : hrTime(endMs));
    },
  };
}

/**
 * Runs `fn` inside a span and ends the span with what it returns: a failed Reply is an error with its
 * errno. An exception ends the span as an error and goes on to the caller.
 */
export async function withSpan<T>(
  tracer: Tracer,
  name: string,
  options: SpanOptions,
  fn: (traceparent: string | undefined, span: OpenSpan) => Promise<T> | T,
): Promise<T> {
  const span = beginSpan(tracer, name, options);
  try {
    const result = await fn(span.traceparent, span);
    span.end(result);
    return result;
  } catch (error) {
    span.end(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}
