// Which traces are always kept (moves, membership, recovery: what people will ask about), and how many of
// the others. A child follows its parent.

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

/** SSI_TRACE_SAMPLE when it is not set: everything that is part of a trace is kept. */
export const sampleDefault = 1;

/** SSI_TRACE_SAMPLE: part of the other traces that is kept, 0..1. undefined: not such a number. */
export function parseSample(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return sampleDefault;
  const ratio = Number(text);
  return ratio >= 0 && ratio <= 1 ? ratio : undefined;
}
