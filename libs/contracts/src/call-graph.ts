// Which operation calls which, over all contracts: the rule that keeps nested calls from waiting for
// each other. No cycle, at most three deep; with a priority raised at each level, four lanes suffice.
import type { Contract } from './contract.ts';

/** Calls below the first one. */
export const depthMax = 3;

/** What is wrong with the `calls` of these contracts, in words; empty: nothing. */
export function callFaults(contracts: readonly Contract[]): string[] {
  const calls = new Map<string, readonly string[]>();
  for (const c of contracts)
    for (const [name, op] of Object.entries(c.ops)) calls.set(`${c.name}.${name}`, op.calls ?? []);
  const faults: string[] = [];
  const depths = new Map<string, number>();
  const depth = (op: string, path: readonly string[]): number => {
    const known = depths.get(op);
    if (known !== undefined) return known;
    if (path.includes(op)) {
      faults.push(`cycle: ${[...path.slice(path.indexOf(op)), op].join(' -> ')}`);
      return 0;
    }
    let deepest = 0;
    for (const next of calls.get(op) ?? []) {
      if (!calls.has(next)) faults.push(`${op} calls ${next}, which no contract has`);
      else deepest = Math.max(deepest, 1 + depth(next, [...path, op]));
    }
    depths.set(op, deepest);
    if (deepest > depthMax) faults.push(`${op} is followed by calls ${deepest} deep`);
    return deepest;
  };
  for (const op of calls.keys()) depth(op, []);
  for (const c of contracts)
    for (const [name, op] of Object.entries(c.ops))
      if (op.priority === 3 && op.calls?.length)
        faults.push(`${c.name}.${name} has the highest priority and calls ${op.calls.join(', ')}`);
  return faults;
}
