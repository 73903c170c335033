// What the object under test is when only one client uses it: the sequential specification.

/**
 * States are values: `step` never changes one. It must be deterministic, and with an unknown output it
 * must allow all that any output would (a state that allows more is sound, one that allows less is not).
 */
export interface Model<S, I, O> {
  readonly init: S;
  /** The state after this operation; undefined where it can't have this output in this state. */
  step(state: S, input: I, output: O | undefined): S | undefined;
  /** Equal for equal states, and for no others. */
  key(state: S): string;
  /**
   * Which independent object the operation is on (a register's name, say): each is checked by itself,
   * which is sound because linearizability is local [Herlihy & Wing 1990, 3.2].
   */
  partition?(input: I): string;
  /** For the picture; JSON when absent. */
  describe?(input: I, output: O | undefined): string;
}

/** An operation in words, a question mark where the outcome is unknown. */
export function describe<I, O>(
  model: Pick<Model<unknown, I, O>, 'describe'>,
  operation: { readonly input: I; readonly output: O | undefined; readonly outcome: string },
): string {
  const { input, output, outcome } = operation;
  const text = model.describe?.(input, output) ?? `${show(input)} → ${show(output)}`;
  return outcome === 'ok' ? text : `${text} ?`;
}

function show(value: unknown): string {
  if (value === undefined) return '';
  return JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}` : v));
}
