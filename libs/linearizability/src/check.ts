// Is a history linearizable? Each independent object by itself; of what is not, the shortest prefix
// that is not, since every prefix of a linearizable history is linearizable too.
import assert from 'node:assert/strict';
import { type HistoryEvent, type Operation, operationsOf } from './history.ts';
import type { Model } from './model.ts';
import { type Attempt, search } from './search.ts';

export interface CheckOptions {
  /** How many configurations the search visits at most, over all objects. Default 1,000,000. */
  readonly configurationsMax?: number;
}

export type Verdict<S, I, O> = {
  /** How many were visited: the work that it was. */
  readonly configurations: number;
} & (
  | {
      readonly outcome: 'ok';
      /** For each object (one named '' where the model does not partition) an order that explains it. */
      readonly orders: ReadonlyMap<string, readonly Operation<I, O>[]>;
    }
  | ({ readonly outcome: 'not-linearizable' } & Counterexample<S, I, O>)
  /** Neither was shown within the bound. */
  | { readonly outcome: 'gave-up'; readonly object: string }
);

export interface Counterexample<S, I, O> {
  /** Which object; '' where the model does not partition. */
  readonly object: string;
  /** Events of the shortest prefix of the whole history that is not linearizable, or more: see `shortest`. */
  readonly prefixLength: number;
  /** False if the bound was reached before a shorter prefix was excluded. */
  readonly shortest: boolean;
  /** The object's operations as the prefix shows them. */
  readonly operations: readonly Operation<I, O>[];
  /** The first operation whose return can't be explained, by all that the prefix tells. */
  readonly stuck: Operation<I, O>;
  /** Orders that explain all returns before, and what did not fit after them; a few, not all. */
  readonly attempts: readonly Attempt<S, I, O>[];
}

export function check<S, I, O>(
  model: Model<S, I, O>,
  history: readonly HistoryEvent<I, O>[],
  options: CheckOptions = {},
): Verdict<S, I, O> {
  const { configurationsMax = 1_000_000 } = options;
  assert(configurationsMax > 0, 'configurationsMax is at least 1');
  const orders = new Map<string, readonly Operation<I, O>[]>();
  let configurations = 0;
  let gaveUp: string | undefined;
  let worst: Counterexample<S, I, O> | undefined;

  for (const [object, operations] of objects(model, operationsOf(history))) {
    const found = search(model, operations, configurationsMax - configurations);
    configurations += found.configurations;
    if (found.outcome === 'ok') orders.set(object, found.order);
    else if (found.outcome === 'gave-up') gaveUp ??= object;
    else {
      const example = shorten(model, history, object, configurationsMax, found);
      if (!worst || example.prefixLength < worst.prefixLength) worst = example;
    }
  }
  if (worst) return { outcome: 'not-linearizable', ...worst, configurations };
  if (gaveUp !== undefined) return { outcome: 'gave-up', object: gaveUp, configurations };
  return { outcome: 'ok', orders, configurations };
}

function objects<S, I, O>(
  model: Model<S, I, O>,
  operations: readonly Operation<I, O>[],
): Map<string, Operation<I, O>[]> {
  return Map.groupBy(operations, ({ input }) => model.partition?.(input) ?? '');
}

/**
 * The search stops at the first return that can't be explained by all that the history tells, also
 * later. The shortest prefix must not know that, so it may be longer: found by bisection.
 */
function shorten<S, I, O>(
  model: Model<S, I, O>,
  history: readonly HistoryEvent<I, O>[],
  object: string,
  configurationsMax: number,
  whole: Pick<Counterexample<S, I, O>, 'stuck' | 'attempts'>,
): Counterexample<S, I, O> {
  const of = (prefixLength: number) =>
    objects(model, operationsOf(history.slice(0, prefixLength))).get(object) ?? [];
  let { stuck, attempts } = whole;
  let shortest = true;
  let good = stuck.returnedAt;
  let bad = history.length;
  let operations = of(bad);
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    const shown = of(middle);
    const found = search(model, shown, configurationsMax);
    if (found.outcome === 'not-linearizable') {
      ({ stuck, attempts } = found);
      operations = shown;
      bad = middle;
    } else {
      if (found.outcome === 'gave-up') shortest = false;
      good = middle;
    }
  }
  return { object, prefixLength: bad, shortest, operations, stuck, attempts };
}
