// The span store on a JetStream memory stream, ssi_<cluster>_spans: one message is one batch of one
// trace. Bounded by size and age, oldest first; gone with the broker, as spans may be.
import {
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiError,
  jetstream,
  jetstreamManager,
  StorageType,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Reply } from '@ssi/contracts';
import { assertToken, fail, ok, spanSubject } from '@ssi/contracts';
import { z } from 'zod';
import { type SpanRecord, spanRecord } from './span-record.ts';
import { orderSpans, type SpanStore, summarize } from './span-store.ts';

/** 64 MiB is some 150,000 spans. */
const storeBytesMax = 64 * 1024 * 1024;
const storeAgeMs = 3_600_000;
/** Messages looked through for a list of recent traces; a batch is one flush of one service. */
const recentBatchesMax = 2_000;
const answerMs = 5_000;
const notFound = 10_059;

const batch = z.array(spanRecord);

export const spanStream = (cluster: string): string => `ssi_${assertToken(cluster)}_spans`;

function decodeBatch(bytes: Uint8Array): SpanRecord[] {
  try {
    const parsed = batch.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
    return parsed.success ? parsed.data : [];
  } catch {
    return []; // not ours: whoever may publish here may publish nonsense
  }
}

async function findStream(nats: NatsConnection, cluster: string, create: boolean): Promise<void> {
  const manager = await jetstreamManager(nats, { timeout: answerMs, checkAPI: false });
  const name = spanStream(cluster);
  try {
    await manager.streams.info(name);
  } catch (error) {
    if (!create || !(error instanceof JetStreamApiError) || error.code !== notFound) throw error;
    await manager.streams.add({
      name,
      subjects: [spanSubject(cluster, '*')],
      storage: StorageType.Memory,
      discard: DiscardPolicy.Old,
      max_bytes: storeBytesMax,
      max_age: storeAgeMs * 1e6,
    });
  }
}

/** Spans of the stream from `from`, in stream order; undefined filter: of every trace. */
async function readSpans(
  nats: NatsConnection,
  cluster: string,
  query: { traceId?: string; last?: number },
): Promise<SpanRecord[]> {
  const manager = await jetstreamManager(nats, { timeout: answerMs, checkAPI: false });
  const name = spanStream(cluster);
  let state: { first_seq: number; last_seq: number };
  try {
    state = (await manager.streams.info(name)).state;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === notFound) return [];
    throw error;
  }
  const from = query.last ? Math.max(state.first_seq, state.last_seq - query.last + 1) : undefined;
  const consumer = await jetstream(nats, { timeout: answerMs }).consumers.get(name, {
    ...(query.traceId && { filter_subjects: spanSubject(cluster, query.traceId) }),
    ...(from && from > 0
      ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: from }
      : { deliver_policy: DeliverPolicy.All }),
  });
  const spans: SpanRecord[] = [];
  let pending = (await consumer.info()).num_pending;
  while (pending > 0) {
    const messages = await consumer.fetch({ max_messages: pending, expires: answerMs });
    let got = 0;
    for await (const message of messages) {
      spans.push(...decodeBatch(message.data));
      pending = message.info.pending;
      got++;
      if (pending === 0) break;
    }
    if (got === 0) break; // what was pending was discarded meanwhile
  }
  await consumer.delete().catch(() => {}); // it also ends by itself when unused
  return spans;
}

const unreachable = (error: unknown): Reply<never, 'EHOSTUNREACH'> =>
  fail(
    'EHOSTUNREACH',
    `the span store does not answer: ${error instanceof Error ? error.message : String(error)}`,
  );

/**
 * The connection stays the caller's. `create: false`: the stream is somebody else's to make, as whoever
 * makes a stream may have the bus publish anywhere; until it is there spans wait.
 */
export function natsSpanStore(
  nats: NatsConnection,
  cluster: string,
  { create = true }: { create?: boolean } = {},
): SpanStore {
  let created: Promise<void> | undefined;
  const ready = (): Promise<void> => {
    created ??= findStream(nats, cluster, create).catch((error: unknown) => {
      created = undefined; // try again with the next batch
      throw error;
    });
    return created;
  };
  // The others wait for it, at the start and after each loss of the broker's memory.
  if (create) {
    ready().catch(() => {});
    void (async () => {
      for await (const { type } of nats.status()) {
        if (type !== 'reconnect') continue;
        created = undefined;
        ready().catch(() => {});
      }
    })();
  }
  return {
    publish: async (traceId, spans) => {
      await ready();
      const bytes = new TextEncoder().encode(JSON.stringify(spans));
      try {
        await jetstream(nats, { timeout: answerMs }).publish(spanSubject(cluster, traceId), bytes);
      } catch (error) {
        created = undefined; // a broker that lost its memory has no stream any more
        throw error;
      }
    },
    readTrace: (traceId) =>
      readSpans(nats, cluster, { traceId }).then((spans) => ok(orderSpans(spans)), unreachable),
    recentTraces: (max) =>
      readSpans(nats, cluster, { last: recentBatchesMax }).then((spans) => {
        const traces = Map.groupBy(spans, (s) => s.traceId);
        return ok(
          [...traces]
            .map(([traceId, group]) => summarize(traceId, group))
            .sort((a, b) => b.startMs - a.startMs)
            .slice(0, max),
        );
      }, unreachable),
    close: async () => {},
  };
}

export const readTrace = (
  nats: NatsConnection,
  cluster: string,
  traceId: string,
): ReturnType<SpanStore['readTrace']> => natsSpanStore(nats, cluster).readTrace(traceId);

export const recentTraces = (
  nats: NatsConnection,
  cluster: string,
  max = 20,
): ReturnType<SpanStore['recentTraces']> => natsSpanStore(nats, cluster).recentTraces(max);
