// Client and server spans of RPCs. Context is text (W3C traceparent), passed explicitly; without an SDK
// the API's no-op spans pass it on unchanged. Calls that are not part of a trace get no span, and neither
// do those of a trace that is not kept: its context is only passed on, which costs next to nothing.
import {
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import type { Reply } from '@ssi/contracts';

const pattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/;

export interface RpcSpan {
  /** For calls made inside, and for the frame. */
  readonly traceparent: string;
  end(reply: Reply<unknown>): void;
}

/** Whether the trace is kept: the lowest bit of its flags. [W3C Trace Context: sampled flag] */
export const isSampled = (traceparent: string): boolean =>
  (Number.parseInt(traceparent.charAt(54), 16) & 1) === 1;

/** undefined: `parent` is not a valid traceparent, or of a trace that is not kept. */
export function rpcSpan(q: {
  tracer: Tracer;
  kind: 'client' | 'server';
  contract: string;
  version: number;
  op: string;
  parent: string;
  node: number;
  peer: string;
  transid: number;
}): RpcSpan | undefined {
  if (!isSampled(q.parent)) return undefined;
  const m = pattern.exec(q.parent);
  if (!m?.[1] || !m[2]) return undefined;
  const parent: SpanContext = {
    traceId: m[1],
    spanId: m[2],
    traceFlags: 1,
    isRemote: q.kind === 'server',
  };
  const span: Span = q.tracer.startSpan(
    `${q.contract}.${q.op}`,
    {
      kind: q.kind === 'client' ? SpanKind.CLIENT : SpanKind.SERVER,
      attributes: {
        'rpc.system.name': 'ssi',
        'rpc.system': 'ssi',
        'rpc.service': q.contract,
        'rpc.method': `${q.contract}/${q.op}`,
        'ssi.node': q.node,
        'ssi.peer': q.peer,
        'ssi.transid': q.transid,
        'ssi.contract.version': q.version,
      },
    },
    trace.setSpanContext(ROOT_CONTEXT, parent),
  );
  const c = span.spanContext();
  return {
    traceparent: `00-${c.traceId}-${c.spanId}-${c.traceFlags.toString(16).padStart(2, '0')}`,
    end: (reply) => {
      span.setAttribute('rpc.response.status_code', reply.ok ? 'OK' : reply.errno);
      if (!reply.ok) {
        span.setAttribute('error.type', reply.errno);
        span.setStatus({ code: SpanStatusCode.ERROR, message: `${reply.errno} ${reply.detail}` });
      }
      span.end();
    },
  };
}
