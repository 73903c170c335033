// Collects finished spans and hands them to the built-in store trace by trace, soon after they ended.
// A store that cannot be reached (the broker is away) gets them later, up to a bound; past it spans
// are dropped and counted, but for those of traces that must not be dropped. The next span that is
// published tells how many were. Time comes from a clock, so the simulator can hold it.
import { TraceFlags } from '@opentelemetry/api';
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace';
import type { Clock, Timer } from '@ssi/ports';
import { recordOf, type SpanRecord } from './span-record.ts';
import type { SpanStore } from './span-store.ts';
import { isKeptTrace } from './tracer.ts';

/** From the end of a span to its publication, ms. */
const flushMs = 200;
/** After a failure, ms: doubled each time up to the second figure. */
const retryMs = { first: 500, max: 5_000 };
const queueMax = 4_096;
/** Of moves, membership and recovery; some 30 MB, a thousand moves without a broker. */
const keptMax = 65_536;
/** Spans in one message: at some 500 bytes each far below the bus's 1 MiB. */
const batchMax = 128;

/** On a published span: how many its process had to drop since it last said so. */
export const droppedAttribute = 'ssi.spans.dropped';

const isKept = (s: SpanRecord): boolean => isKeptTrace(s.traceId);

export interface BatcherCounters {
  readonly ended: number;
  readonly published: number;
  /** Ended but neither published nor waiting: the queue was full, or it was stopped unpublished. */
  readonly dropped: number;
  readonly waiting: number;
}

export interface SpanBatcher extends SpanProcessor {
  counters(): BatcherCounters;
}

export function spanBatcher(store: Pick<SpanStore, 'publish'>, clock: Clock): SpanBatcher {
  let kept: SpanRecord[] = [];
  let ordinary: SpanRecord[] = [];
  let timer: Timer | undefined;
  let working: Promise<boolean> | undefined;
  let stopped = false;
  let delayMs = retryMs.first;
  let ended = 0;
  let published = 0;
  let dropped = 0;
  let told = 0;
  const waiting = (): number => kept.length + ordinary.length;
  const lose = (spans: number): void => {
    dropped += Math.max(0, spans);
  };

  /** One pass over what is queued; false: the store failed, the rest is queued again. */
  const pass = async (): Promise<boolean> => {
    const groups = [...Map.groupBy([...kept, ...ordinary], (s) => s.traceId)].flatMap(
      ([traceId, spans]) =>
        Array.from({ length: Math.ceil(spans.length / batchMax) }, (_, i) => ({
          traceId,
          spans: spans.slice(i * batchMax, (i + 1) * batchMax),
        })),
    );
    kept = [];
    ordinary = [];
    for (const [i, { traceId, spans }] of groups.entries()) {
      try {
        const lost = dropped - told;
        const first = spans[0];
        if (lost > 0 && first) first.attributes[droppedAttribute] = lost;
        await store.publish(traceId, spans);
        told += lost;
        published += spans.length;
      } catch {
        const rest = groups.slice(i).flatMap((g) => g.spans);
        const [first, others] = [rest.filter(isKept), rest.filter((s) => !isKept(s))];
        const room = Math.max(0, queueMax - ordinary.length);
        lose(others.length - room);
        kept = [...first, ...kept];
        ordinary = [...others.slice(0, room), ...ordinary];
        return false;
      }
    }
    return true;
  };

  const schedule = (ms: number): void => {
    if (stopped || timer || waiting() === 0) return;
    timer = clock.after(ms, () => {
      timer = undefined;
      void flush();
    });
  };

  const flush = (): Promise<boolean> => {
    if (working) return working;
    if (waiting() === 0) return Promise.resolve(true);
    timer?.cancel();
    timer = undefined;
    working = pass().then((good) => {
      working = undefined;
      delayMs = good ? retryMs.first : Math.min(delayMs * 2, retryMs.max);
      schedule(good ? flushMs : delayMs);
      return good;
    });
    return working;
  };

  /** Until the queue is empty or the store fails once. */
  const drain = async (): Promise<void> => {
    if (working) await working;
    while (waiting() > 0) if (!(await flush())) return;
  };

  return {
    onStart: () => {},
    onEnd: (span: ReadableSpan) => {
      if (stopped || !(span.spanContext().traceFlags & TraceFlags.SAMPLED)) return;
      ended++;
      const must = isKeptTrace(span.spanContext().traceId);
      const queue = must ? kept : ordinary;
      if (queue.length >= (must ? keptMax : queueMax)) {
        lose(1);
        return;
      }
      queue.push(recordOf(span));
      if (!working) schedule(flushMs);
    },
    forceFlush: drain,
    shutdown: async () => {
      if (stopped) return;
      await drain();
      stopped = true;
      timer?.cancel();
      timer = undefined;
      lose(waiting());
      kept = [];
      ordinary = [];
    },
    counters: () => ({ ended, published, dropped, waiting: ended - published - dropped }),
  };
}
