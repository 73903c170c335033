// Which traces are kept: a child follows its parent; of the roots those that people will ask about
// (moves, membership, recovery) always, the others by ratio.
import {
  ParentBasedSampler,
  type Sampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace';

/** Without the `ssi.` or `vproc.` before it; `clms.step` and `ssi.migrate` are both always kept. */
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
  alwaysKept.has(spanName.replace(/^(ssi|vproc)\./, '').split(/[. ]/, 1)[0] ?? '');

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
