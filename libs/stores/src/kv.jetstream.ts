// The Kv port on JetStream KV. Reads go to the stream's leader (`allow_direct: false`): a follower's
// answer may be old. A bucket that is gone (a server that lost its disk) is made anew, empty: whoever
// uses the store refills it.
import { setTimeout as delay } from 'node:timers/promises';
import { JetStreamApiError, JetStreamError, jetstream } from '@nats-io/jetstream';
import { type KV, Kvm, type KvWatchEntry } from '@nats-io/kv';
import {
  ClosedConnectionError,
  type NatsConnection,
  NoRespondersError,
  RequestError,
} from '@nats-io/transport-node';
import { fail, ok } from '@ssi/contracts';
import type { Kv, KvEntry } from '@ssi/ports';

export interface JetStreamKvOptions {
  /** Left open by `close`: it is the caller's. */
  readonly connection: NatsConnection;
  readonly bucket: string;
  /** 1 for one server, 3 where there are. Default 1. */
  readonly replicas?: 1 | 3;
  /** Longest wait for an answer, ms. Default 2,000. */
  readonly timeoutMs?: number;
}

/** JetStream's error codes: stream not found; no message at that subject; wrong last sequence. */
const streamNotFound = 10059;
const messageNotFound = 10037;
const wrongLastSequence = [10071, 10164];

type Away = 'ETIMEDOUT' | 'EHOSTUNREACH';

export function openJetStreamKv(options: JetStreamKvOptions): Kv {
  const { connection, bucket } = options;
  const js = jetstream(connection, { timeout: options.timeoutMs ?? 2_000 });
  const kvm = new Kvm(js);
  const watches = new Set<{ stop(): void }>();
  let opened: Promise<KV> | undefined;
  let disconnected = false;
  void (async () => {
    for await (const s of connection.status()) {
      if (s.type === 'disconnect') disconnected = true;
      else if (s.type === 'reconnect') disconnected = false;
    }
  })();

  function open(): Promise<KV> {
    opened ??= kvm
      .create(bucket, { history: 1, replicas: options.replicas ?? 1, allow_direct: false })
      .catch((error: unknown) => {
        opened = undefined;
        throw error;
      });
    return opened;
  }

  /** Runs `fn` on the bucket, making it anew once if the server does not know it (any more). */
  async function onBucket<T>(fn: (kv: KV) => Promise<T>): Promise<T> {
    // Not handed to the client while it is away: it would keep the request and send it much later.
    if (disconnected || connection.isClosed()) throw new NoRespondersError(bucket);
    try {
      return await fn(await open());
    } catch (error) {
      if (!isGone(error)) throw error;
      opened = undefined;
      return fn(await open());
    }
  }

  return {
    async get(key) {
      try {
        const entry = await onBucket((kv) => kv.get(key));
        if (entry?.operation !== 'PUT') return ok(undefined);
        return ok({ value: entry.value, revision: entry.revision });
      } catch (error) {
        if (error instanceof JetStreamApiError && error.code === messageNotFound)
          return ok(undefined);
        return away(error);
      }
    },
    async compareAndSet(key, value, expected) {
      try {
        return ok(await onBucket((kv) => kv.put(key, value, { previousSeq: expected })));
      } catch (error) {
        if (error instanceof JetStreamApiError && wrongLastSequence.includes(error.code))
          return fail('EAGAIN', error.message);
        return away(error);
      }
    },
    watch(key, onEntry) {
      const watch = createWatch(connection, () => onBucket((kv) => kv.watch({ key })), onEntry);
      watches.add(watch);
      return watch;
    },
    async close() {
      for (const w of watches) w.stop();
      watches.clear();
    },
  };
}

/** How long after a watch that did not begin, or ended, it is begun anew, ms. */
const watchRetryMs = 200;

/**
 * The library's watch, begun anew after each reconnect (a server that forgot would leave it waiting for
 * ever) and as long as it does not begin: a server too busy to answer in time is no reconnect.
 */
function createWatch(
  connection: NatsConnection,
  begin: () => Promise<AsyncIterable<KvWatchEntry> & { stop(): void }>,
  onEntry: (entry: KvEntry) => void,
): { stop(): void } {
  let beginning = 0;
  let stopped = false;
  let current: { stop(): void } | undefined;
  let lastRevision = 0;
  const status = connection.status();

  const end = (): void => {
    beginning++;
    current?.stop();
  };
  async function follow(): Promise<void> {
    end();
    const mine = beginning;
    while (mine === beginning) {
      try {
        const iterator = await begin();
        if (mine !== beginning) return iterator.stop();
        current = iterator;
        for await (const e of iterator) {
          if (mine !== beginning) return;
          if (e.operation !== 'PUT' || e.revision === lastRevision) continue;
          lastRevision = e.revision;
          onEntry({ value: e.value, revision: e.revision });
        }
      } catch {
        // Away, or did not answer in time.
      }
      await delay(watchRetryMs, undefined, { ref: false });
    }
  }
  void follow();
  void (async () => {
    for await (const s of status) {
      if (stopped) return;
      if (s.type === 'reconnect') void follow();
    }
  })();
  return {
    stop() {
      stopped = true;
      end();
    },
  };
}

/** What lies at the bottom of an error of the client library. */
const rootOf = (error: unknown): unknown =>
  (error instanceof RequestError || error instanceof JetStreamError) && error.cause
    ? error.cause
    : error;

/** The server does not know the stream: it says so, or nobody serves its subjects. Neither ran. */
const isGone = (error: unknown): boolean =>
  (error instanceof JetStreamApiError && error.code === streamNotFound) ||
  rootOf(error) instanceof NoRespondersError ||
  (error instanceof JetStreamError && /not enabled|stream not found/i.test(error.message));

function away(error: unknown) {
  const text = error instanceof Error ? error.message : String(error);
  const unreached = isGone(error) || rootOf(error) instanceof ClosedConnectionError;
  return fail<Away>(unreached ? 'EHOSTUNREACH' : 'ETIMEDOUT', text);
}
