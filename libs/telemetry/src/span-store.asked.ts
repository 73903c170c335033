// The span store of another process, by questions and answers over whatever connects the two: the end that
// asks, and the end that has the store.
import { fail, ok, type Reply } from '@ssi/contracts';
import { z } from 'zod';
import { spanRecord } from './span-record.ts';
import type { SpanStore, TraceSummary } from './span-store.ts';

/** Spans in one message: what is sent is far from what a message may hold. */
const pageMax = 200;

const questions = {
  publish: z.object({ traceId: z.string(), spans: z.array(spanRecord) }),
  trace: z.object({ traceId: z.string(), from: z.int().min(0) }),
  recent: z.object({ max: z.int().min(0) }),
} as const;
export type SpanQuestion = keyof typeof questions;

/** Rejects what is none of these questions. */
export async function answerSpans(
  store: SpanStore,
  what: string,
  value: unknown,
): Promise<unknown> {
  if (what === 'publish') {
    const { traceId, spans } = questions.publish.parse(value);
    await store.publish(traceId, spans);
    return undefined;
  }
  if (what === 'trace') {
    const { traceId, from } = questions.trace.parse(value);
    const found = await store.readTrace(traceId);
    return found.ok ? found.value.slice(from, from + pageMax) : [];
  }
  const { max } = questions.recent.parse(value);
  const found = await store.recentTraces(max);
  return found.ok ? found.value.slice(0, 10 * pageMax) : [];
}

export function askedSpanStore(
  ask: (what: SpanQuestion, value: unknown) => Promise<unknown>,
): SpanStore {
  const reached = async <T>(work: () => Promise<T>): Promise<Reply<T, 'EHOSTUNREACH'>> => {
    try {
      return ok(await work());
    } catch (error) {
      return fail('EHOSTUNREACH', String(error));
    }
  };
  return {
    publish: async (traceId, spans) => {
      for (let at = 0; at < spans.length; at += pageMax)
        await ask('publish', { traceId, spans: spans.slice(at, at + pageMax) });
    },
    readTrace: (traceId) =>
      reached(async () => {
        const all = [];
        for (;;) {
          const asked = { traceId, from: all.length };
          const page = z.array(spanRecord).parse(await ask('trace', asked));
          all.push(...page);
          if (page.length < pageMax) return all;
        }
      }),
    recentTraces: (max) => reached(async () => (await ask('recent', { max })) as TraceSummary[]),
    close: async () => {},
  };
}
