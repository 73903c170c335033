// Linearizability by its definition: is there a legal order of some of the operations (all that
// returned) in which none comes before one that had returned when it was invoked? For tests only.
import { type HistoryEvent, type Model, type Operation, operationsOf } from '../src/index.ts';

export function bruteForce<S, I, O>(
  model: Model<S, I, O>,
  history: readonly HistoryEvent<I, O>[],
): boolean {
  const all = operationsOf(history);
  const place = (state: S, left: readonly Operation<I, O>[]): boolean =>
    left.every(({ outcome }) => outcome === 'unknown') ||
    left.some((next) => {
      if (left.some((other) => other.returnedAt < next.invokedAt)) return false;
      const after = model.step(state, next.input, next.output);
      const others = left.filter((other) => other !== next);
      return after !== undefined && place(after, others);
    });
  return place(model.init, all);
}
