// Starts tracing for one process: OpenTelemetry's SDK with the built-in store as one way out and OTLP
// over HTTP as the other. Nothing else of the project touches the SDK; libraries know the API only,
// which does nothing until this has run.
import { randomBytes } from 'node:crypto';
import { type TracerProvider as ApiProvider, type Tracer, trace } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  type IdGenerator,
  RandomIdGenerator,
  type SpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import {
  ATTR_SERVICE_INSTANCE_ID,
  ATTR_SERVICE_NAME,
  ATTR_SERVICE_NAMESPACE,
} from '@opentelemetry/semantic-conventions';
import type { Clock, Random } from '@ssi/ports';
import { sampleDefault } from './sampler.ts';
import { type BatcherCounters, spanBatcher } from './span-batcher.ts';
import type { SpanStore } from './span-store.ts';
import { keptIds, samplingTracer } from './tracer.ts';

export interface TelemetryOptions {
  /** Service name, as in subjects; `client` for a command. */
  readonly service: string;
  /** Node number, 0 for a client. */
  readonly node: number;
  readonly cluster: string;
  readonly bootId?: string;
  /** The built-in store; absent: spans only go to OTLP, or nowhere. */
  readonly store?: Pick<SpanStore, 'publish'>;
  /** Base URL of an OTLP/HTTP receiver (`/v1/traces` is added), as OTEL_EXPORTER_OTLP_ENDPOINT has it. */
  readonly otlpEndpoint?: string | undefined;
  /** Part of the ordinary traces that is kept, 0..1 (SSI_TRACE_SAMPLE). Moves and membership always are. Default 1. */
  readonly sample?: number;
  readonly clock: Clock;
  /** Source of trace and span ids; absent: the system's. */
  readonly random?: Random;
  /** Also the tracer of libraries that ask the API for one. Default true; false where one process hosts several services. */
  readonly global?: boolean;
}

export interface Telemetry {
  readonly tracer: Tracer;
  counters(): BatcherCounters;
  /** Publishes what has ended so far. Never rejects. */
  flush(): Promise<void>;
  /** Flushes within `timeoutMs` (default 2,000) and stops. Never rejects, idempotent. */
  stop(timeoutMs?: number): Promise<void>;
}

const idsOf = (random: Random): IdGenerator => ({
  generateTraceId: () => random.hex(16),
  generateSpanId: () => random.hex(8),
});

/** Where no port is handed in: which of the ordinary traces are kept is nothing anybody replays. */
const systemRandom: Random = {
  float: () => Math.random(),
  hex: (bytes) => randomBytes(bytes).toString('hex'),
};

async function otlpProcessor(endpoint: string): Promise<SpanProcessor> {
  const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http');
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/+$/, '')}/v1/traces`,
    timeoutMillis: 5_000,
  });
  return new BatchSpanProcessor({ exporter, scheduledDelayMillis: 200, maxQueueSize: 4_096 });
}

export async function startTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const batcher = options.store && spanBatcher(options.store, options.clock);
  const processors: SpanProcessor[] = batcher ? [batcher] : [];
  if (options.otlpEndpoint) processors.push(await otlpProcessor(options.otlpEndpoint));
  const ids = keptIds(options.random ? idsOf(options.random) : new RandomIdGenerator());
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      [ATTR_SERVICE_NAME]: options.service,
      [ATTR_SERVICE_NAMESPACE]: `ssi.${options.cluster}`,
      ...(options.bootId && { [ATTR_SERVICE_INSTANCE_ID]: options.bootId }),
      'ssi.node': options.node,
    }),
    idGenerator: ids,
    spanProcessors: processors,
  });
  const tracer = samplingTracer({
    inner: provider.getTracer('ssi'),
    ids,
    ratio: options.sample ?? sampleDefault,
    random: options.random ?? systemRandom,
  });
  const global: ApiProvider = { getTracer: () => tracer };
  const isGlobal = options.global !== false && trace.setGlobalTracerProvider(global);
  let stopping: Promise<void> | undefined;
  return {
    tracer,
    counters: () => batcher?.counters() ?? { ended: 0, published: 0, dropped: 0, waiting: 0 },
    flush: () => provider.forceFlush().catch(() => {}),
    stop: (timeoutMs = 2_000) => {
      if (isGlobal && !stopping) trace.disable();
      stopping ??= new Promise<void>((done) => {
        const timer = options.clock.after(timeoutMs, done);
        void provider
          .shutdown()
          .catch(() => {})
          .then(() => {
            timer.cancel();
            done();
          });
      });
      return stopping;
    },
  };
}
