// A counterexample for people: the operations around the event that can't be explained on a time line
// of the history's events, and how far the best orders came.
import type { Counterexample } from './check.ts';
import type { Operation } from './history.ts';
import { describe, type Model } from './model.ts';

const rowsMax = 24;
const orderMax = 12;

export function picture<S, I, O>(
  model: Model<S, I, O>,
  { object, prefixLength, shortest, operations, stuck, attempts }: Counterexample<S, I, O>,
): string {
  const words = (operation: Operation<I, O>) =>
    `${operation.client}: ${describe(model, operation)}`;
  const shown = operations.slice(-rowsMax);
  const lines = [
    `Not linearizable${object ? ` (${object})` : ''}: ${words(stuck)} can't be placed.`,
    shortest
      ? `The first ${prefixLength} events are the shortest prefix that shows it.`
      : `The first ${prefixLength} events show it; whether fewer do was too much to search.`,
    '',
    ...timeLine(shown, prefixLength, stuck, words),
  ];
  if (shown.length < operations.length)
    lines.push(`(${operations.length - shown.length} earlier operations left out)`);
  for (const { order, state, refused } of attempts) {
    const last = order.slice(-orderMax).map(words);
    const before = order.length > orderMax ? [`… ${order.length - orderMax} more`] : [];
    lines.push('', 'An order that explains everything before:');
    lines.push(`  ${[...before, ...last].join('; ') || '(nothing)'}`);
    lines.push(
      `  then the state is ${model.key(state)}, and it refuses ${refused.map(words).join('; ')}`,
    );
  }
  return lines.join('\n');
}

/** One row an operation: |───| from its invocation to its return, open to the right where unknown. */
function timeLine<I, O>(
  operations: readonly Operation<I, O>[],
  prefixLength: number,
  stuck: Operation<I, O>,
  words: (operation: Operation<I, O>) => string,
): string[] {
  const times = operations.flatMap(({ invokedAt, returnedAt }) => [invokedAt, returnedAt]);
  const columns = [...new Set(times)].filter((at) => at < prefixLength).sort((a, b) => a - b);
  const column = (at: number) => (at >= prefixLength ? columns.length : columns.indexOf(at));
  return operations.map((operation) => {
    const [from, to] = [column(operation.invokedAt), column(operation.returnedAt)];
    const end = operation.outcome === 'ok' ? '|' : '…';
    const bar = `${' '.repeat(from)}|${'─'.repeat(Math.max(0, to - from - 1))}${end}`;
    const mark = operation.id === stuck.id ? '  ← can’t be placed' : '';
    return `  ${bar.padEnd(columns.length + 2)} ${words(operation)}${mark}`;
  });
}
