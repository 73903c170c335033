// What a client needs of the world, handed in: a bus to call services on, streams to a node, the span
// store, a clock. `connect` builds it on NATS; tests and the embedded cluster build it in memory.
import type { Tracer } from '@opentelemetry/api';
import type { Clock, Ics, Streams } from '@ssi/ports';
import type { SpanStore } from '@ssi/telemetry';

export interface ClientLink {
  readonly cluster: string;
  readonly ics: Ics;
  readonly streams: Pick<Streams, 'connect'>;
  readonly clock: Clock;
  readonly tracer: Tracer;
  readonly spans: SpanStore;
  /** Nodes worth asking first for a view: of the cluster file, or the node this process is in. */
  readonly seeds: readonly number[];
  /** User that signals and moves are asked for. 0: root. */
  readonly uid: number;
  /** Calls back whenever membership announced something; only a hint to look, it may be lost. */
  onEvent(fn: () => void): { stop(): void };
  /** Flushes spans and leaves. Idempotent. */
  close(): Promise<void>;
}
