// What commands ask the LVS director for.
import type { Ssi } from '@ssi/client';
import type { Failure, TableChange } from '@ssi/contracts';
import type { Command } from 'commander';
import type { Shell } from './shell.ts';

/** One request to the director; `print` says what came of it. */
export const asking = (
  shell: Shell,
  command: Command,
  work: (ssi: Ssi) => Promise<Failure | undefined>,
): Promise<number> =>
  shell.withSsi(command, async (ssi) => {
    const failed = await work(ssi);
    return failed ? shell.fail(command, undefined, failed) : 0;
  });

export const changing = (
  shell: Shell,
  command: Command,
  changes: TableChange[],
  json?: boolean,
): Promise<number> =>
  asking(shell, command, async (ssi) => {
    const done = await ssi.director('change', { changes });
    if (!done.ok) return done;
    if (json) shell.json(done.value);
    return undefined;
  });
