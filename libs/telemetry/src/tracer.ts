// Decides about a span before it is made: what is not kept costs no span, only its context. The SDK's own
// sampler decides after ids and objects were made for it, which was most of the cost of an RPC.
import {
  type Context,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  type SpanOptions,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import type { IdGenerator } from '@opentelemetry/sdk-trace';
import type { Random } from '@ssi/ports';
import { isAlwaysKept } from './sampler.ts';

/**
 * Trace ids of what must not be dropped (moves, membership, recovery) begin so, and no other root's do:
 * whoever holds a span of such a trace, in whatever process, knows it by that.
 */
const keptPrefix = 'ff';
export const isKeptTrace = (traceId: string): boolean => traceId.startsWith(keptPrefix);

/** Ids that say whether the trace is one that must not be dropped. */
export interface KeptIds extends IdGenerator {
  /** Of the next root. */
  kept: boolean;
}

export function keptIds(base: IdGenerator): KeptIds {
  const ids: KeptIds = {
    kept: false,
    generateSpanId: () => base.generateSpanId(),
    generateTraceId: () => {
      const id = base.generateTraceId();
      if (ids.kept) return keptPrefix + id.slice(keptPrefix.length);
      return isKeptTrace(id) ? `0${id.slice(1)}` : id;
    },
  };
  return ids;
}

export interface SamplingOptions {
  readonly inner: Tracer;
  readonly ids: KeptIds;
  /** Part of the ordinary roots that is kept, 0..1. */
  readonly ratio: number;
  readonly random: Random;
}

/** A child follows its parent; of the roots those that people will ask about always, the others by ratio. */
export function samplingTracer({ inner, ids, ratio, random }: SamplingOptions): Tracer {
  const unsampled = unsampledRoots(random);
  const startSpan = (name: string, options?: SpanOptions, context?: Context): Span => {
    const parent = options?.root || !context ? undefined : trace.getSpanContext(context);
    if (parent) {
      if ((parent.traceFlags & TraceFlags.SAMPLED) === 0) return trace.wrapSpanContext(parent);
      return inner.startSpan(name, options, context);
    }
    ids.kept = isAlwaysKept(name);
    if (!ids.kept && ratio < 1 && random.float() >= ratio)
      return trace.wrapSpanContext(unsampled());
    return inner.startSpan(name, options, context ?? ROOT_CONTEXT);
  };
  return {
    startSpan,
    startActiveSpan: () => {
      throw new Error('context is explicit here: use withSpan');
    },
  };
}

/** Contexts of roots that are not kept: unique, and cheap to make. */
function unsampledRoots(random: Random): () => SpanContext {
  let prefix = '';
  let made = 0;
  return () => {
    prefix ||= `0${random.hex(8).slice(1)}`;
    const low = (++made).toString(16).padStart(16, '0');
    return { traceId: prefix + low, spanId: low, traceFlags: TraceFlags.NONE };
  };
}
