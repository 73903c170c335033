// Every export of the telemetry library, by file.
export { type OtlpReceiver, type OtlpReceiverOptions, startOtlpReceiver } from './otlp-receiver.ts';
export { isAlwaysKept, parseSample, sampleDefault } from './sampler.ts';
export type { OpenSpan, SpanOptions } from './span.ts';
export { beginSpan, withSpan } from './span.ts';
export type { BatcherCounters, SpanBatcher } from './span-batcher.ts';
export { droppedAttribute, spanBatcher } from './span-batcher.ts';
export type { SpanRecord } from './span-record.ts';
export { spanRecord } from './span-record.ts';
export { answerSpans, askedSpanStore, type SpanQuestion } from './span-store.asked.ts';
export { natsSpanStore, readTrace, recentTraces, spanStream } from './span-store.nats.ts';
export type { SpanStore, TraceSummary } from './span-store.ts';
export { memorySpanStore, orderSpans, summarize } from './span-store.ts';
export type { Telemetry, TelemetryOptions } from './telemetry.ts';
export { startTelemetry } from './telemetry.ts';
export { contextOf, formatTraceparent, parseTraceparent } from './traceparent.ts';
