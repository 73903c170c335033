// Which traces are kept: a child follows its parent; of the roots those that people will ask about
// (moves, membership, recovery) always, the others by ratio.
import {
  ParentBasedSampler,
  type Sampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace';

/** First word of the root span's name; `clms.step` and `migrate` are both always kept. */
const alwaysKept = new Set([
  'migrate',
  'rexec',
  'rfork',
  'drain',
  'clms',
  'membership',
  'nodedown',
  'nodeup',
  'recovery',
]);

export const isAlwaysKept = (spanName: string): boolean =>
  alwaysKept.has(spanName.split(/[. ]/, 1)[0] ?? '') || spanName === 'vproc.migrate';

/** `ratio` of the other roots is kept, 0..1, decided by the trace id alone. */
export function clusterSampler(ratio: number): Sampler {
  const byRatio = new TraceIdRatioBasedSampler(ratio);
  return new ParentBasedSampler({
    root: {
      shouldSample: (context, traceId, name) =>
        isAlwaysKept(name)
          ? { decision: SamplingDecision.RECORD_AND_SAMPLED }
          : byRatio.shouldSample(context, traceId),
      toString: () => `ClusterSampler{${ratio}}`,
    },
  });
}
