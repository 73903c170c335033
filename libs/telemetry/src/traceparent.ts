// W3C trace context as text, passed explicitly from call to call (CallContext.traceparent): there is
// no ambient context here, so simulation and production carry it the same way. [W3C Trace Context]
import {
  type Context,
  isSpanContextValid,
  ROOT_CONTEXT,
  type SpanContext,
  trace,
} from '@opentelemetry/api';

const pattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** undefined: absent or not a valid traceparent; whoever gets that starts a trace of its own. */
export function parseTraceparent(text: string | undefined): SpanContext | undefined {
  const m = text === undefined ? null : pattern.exec(text);
  if (!m?.[1] || !m[2] || !m[3]) return undefined;
  const context: SpanContext = {
    traceId: m[1],
    spanId: m[2],
    traceFlags: Number.parseInt(m[3], 16) & 1,
    isRemote: true,
  };
  return isSpanContextValid(context) ? context : undefined;
}

/** undefined: the span is a no-op without a parent, there is nothing to pass on. */
export const formatTraceparent = (c: SpanContext): string | undefined =>
  isSpanContextValid(c)
    ? `00-${c.traceId}-${c.spanId}-${c.traceFlags.toString(16).padStart(2, '0')}`
    : undefined;

/** An OpenTelemetry context whose current span is the one that `traceparent` names. */
export function contextOf(traceparent: string | undefined): Context {
  const parent = parseTraceparent(traceparent);
  return parent ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT;
}
