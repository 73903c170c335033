// The built-in store of spans as a port: batches of one trace go in, whole traces come out. What it
// keeps is bounded; nothing but `ssi trace` rests on it. Memory twin below, NATS in span-store.nats.ts.
import type { Reply } from '@ssi/contracts';
import { ok } from '@ssi/contracts';
import type { SpanRecord } from './span-record.ts';

export interface TraceSummary {
  readonly traceId: string;
  /** Name of the root span, or of the earliest that was found. */
  readonly name: string;
  readonly startMs: number;
  readonly durationMs: number;
  readonly spans: number;
  readonly nodes: readonly number[];
  readonly services: readonly string[];
  readonly status: 'ok' | 'error';
}

export interface SpanStore {
  /** Resolves when the store has them; rejects when it cannot be reached. All of one trace. */
  publish(traceId: string, spans: readonly SpanRecord[]): Promise<void>;
  /** By start time, each span once; empty: unknown or forgotten. */
  readTrace(traceId: string): Promise<Reply<SpanRecord[], 'EHOSTUNREACH'>>;
  /** Newest first. */
  recentTraces(max: number): Promise<Reply<TraceSummary[], 'EHOSTUNREACH'>>;
  close(): Promise<void>;
}

/** Each span once (a batch may be stored twice), parents before children that start with them. */
export function orderSpans(spans: readonly SpanRecord[]): SpanRecord[] {
  const byId = new Map(spans.map((s) => [s.spanId, s]));
  const depth = (s: SpanRecord): number => {
    let level = 0;
    let at: SpanRecord | undefined = s;
    // A damaged trace may hold a cycle; no real one is deeper than it has spans.
    while (at?.parentSpanId && level <= byId.size) {
      at = byId.get(at.parentSpanId);
      level++;
    }
    return level;
  };
  return [...byId.values()].sort(
    (a, b) => a.startMs - b.startMs || depth(a) - depth(b) || (a.spanId < b.spanId ? -1 : 1),
  );
}

export function summarize(traceId: string, spans: readonly SpanRecord[]): TraceSummary {
  const ordered = orderSpans(spans);
  const root = ordered.find((s) => s.parentSpanId === null) ?? ordered[0];
  const startMs = ordered[0]?.startMs ?? 0;
  const endMs = Math.max(startMs, ...ordered.map((s) => s.startMs + s.durationMs));
  return {
    traceId,
    name: root?.name ?? '',
    startMs,
    durationMs: endMs - startMs,
    spans: ordered.length,
    nodes: [...new Set(ordered.map((s) => s.node))].sort((a, b) => a - b),
    services: [...new Set(ordered.map((s) => s.service))].sort(),
    status: root?.status === 'error' ? 'error' : 'ok',
  };
}

/** Twin for tests, the simulator and the embedded cluster; forgets the oldest trace past `tracesMax`. */
export function memorySpanStore(tracesMax = 1_000): SpanStore {
  const traces = new Map<string, SpanRecord[]>();
  return {
    publish: async (traceId, spans) => {
      const known = traces.get(traceId);
      if (known) known.push(...spans);
      else traces.set(traceId, [...spans]);
      for (const oldest of traces.keys()) {
        if (traces.size <= tracesMax) break;
        traces.delete(oldest);
      }
    },
    readTrace: async (traceId) => ok(orderSpans(traces.get(traceId) ?? [])),
    recentTraces: async (max) =>
      ok(
        [...traces]
          .map(([traceId, spans]) => summarize(traceId, spans))
          .sort((a, b) => b.startMs - a.startMs)
          .slice(0, max),
      ),
    close: async () => {},
  };
}
