// What a refused command owes to whoever typed it: the right exit code, one line with the errno and what
// to do next, and no stack trace.
import { expect } from 'vitest';
import type { CommandResult } from './cluster.ts';

export interface Refusal {
  readonly code: number;
  /** Errno names, any of which is right; absent: wrong usage, which has none. */
  readonly errno?: readonly string[];
  /** What to do, as it must be named on standard error. */
  readonly hint: RegExp;
}

export function expectRefused(result: CommandResult, want: Refusal): void {
  const said = `exit ${result.code}\n${result.stdout}${result.stderr}`;
  expect(result.code, said).toBe(want.code);
  expectNoTrace(result);
  if (want.errno)
    expect(result.stderr, said).toMatch(
      new RegExp(`^ssi: [a-z_-]+: (.*: )?(${want.errno.join('|')}) `, 'm'),
    );
  expect(result.stderr, said).toMatch(want.hint);
}

/** Nothing of ours ever ends with a stack trace or the notice of a bug. */
export function expectNoTrace(result: Pick<CommandResult, 'stdout' | 'stderr'>): void {
  const said = result.stdout + result.stderr;
  expect(said).not.toMatch(/^\s+at .*[:(]/m);
  expect(said).not.toMatch(/this is a bug|UnhandledPromise|node:internal/);
}
