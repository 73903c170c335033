// What a client needs of the world, handed in: a bus to call services on, streams to a node, the span
// store, a clock. `connect` builds it on NATS; tests and the embedded cluster build it in memory.
import type { Tracer } from '@opentelemetry/api';
import type { Errno, Reply, ServiceEndpoint } from '@ssi/contracts';
import type { Clock, Ics, Streams } from '@ssi/ports';
import type { SpanStore } from '@ssi/telemetry';

/** An endpoint on which this process serves as a service of a node. */
export interface ServingEndpoint {
  /** Closing it closes all that was opened for it. */
  readonly ics: Ics;
  readonly servicePid: number;
  /** Where it is reached directly; empty: by the bus only. */
  readonly tcp: readonly { readonly host: string; readonly port: number }[];
  readonly setMap?: (map: readonly ServiceEndpoint[]) => void;
}

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
  /** Group that programs are started with; absent: the one numbered as the user. */
  readonly gid?: number | undefined;
  /** Calls back whenever membership announced something; only a hint to look, it may be lost. */
  onEvent(fn: () => void): { stop(): void };
  /** Absent: this link only calls. */
  openEndpoint?(node: number, service: string): Promise<Reply<ServingEndpoint, Errno>>;
  /** Flushes spans and leaves. Idempotent. */
  close(): Promise<void>;
}
