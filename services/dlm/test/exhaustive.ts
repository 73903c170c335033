// Every situation that a number of locks on one resource can get into, by any order of operations.
import { modes } from './oracle.ts';
import { type Operation, Pair } from './pair.ts';

/**
 * Tries every operation in every situation that up to `locks` locks can reach; throws where the core and
 * the oracle differ. Situations are the same if they hold and ask the same, in the same order of queues:
 * no rule looks at which lock it is, nor at the order of those that were granted.
 */
export function explore(locks: number): { situations: number; operations: number } {
  const seen = new Set<string>();
  const todo = [new Pair()];
  let operations = 0;
  for (let pair = todo.pop(); pair; pair = todo.pop()) {
    for (const operation of possible(pair, locks)) {
      const next = pair.clone();
      next.run(operation);
      operations += 1;
      const key = situation(next);
      if (seen.has(key)) continue;
      seen.add(key);
      todo.push(next);
    }
  }
  return { situations: seen.size, operations };
}

function situation(pair: Pair): string {
  const words = pair.standing().map(({ held, asked }) => `${held ?? '-'}>${asked ?? '-'}`);
  const idle = words.filter((word) => word.endsWith('>-')).sort();
  return [...idle, ...words.filter((word) => !word.endsWith('>-'))].join(' ');
}

function possible(pair: Pair, locks: number): Operation[] {
  const standing = pair.standing();
  const ids = new Set(standing.map(({ id }) => id));
  const unused = Array.from({ length: locks }, (_, i) => i).find((id) => !ids.has(id));
  const requests: Operation[] =
    unused === undefined ? [] : modes.map((mode) => ({ op: 'request', id: unused, mode }));
  const others = standing.flatMap(({ id, held, asked }): Operation[] => {
    const ends: Operation[] = [{ op: 'unlock', id }];
    if (asked) return [...ends, { op: 'cancel', id }];
    if (held) ends.push(...modes.map((mode): Operation => ({ op: 'convert', id, mode })));
    return ends;
  });
  return [...requests, ...others];
}
