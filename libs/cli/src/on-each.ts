// One command on several nodes at the same time, for onall and onclass.
import type { NodeInfo, Ssi } from '@ssi/client';
import type { Command } from 'commander';
import type { Shell } from './shell.ts';
import { runInForeground } from './start-program.ts';
import { exitCode } from './status.ts';

/** Gives the highest status of all. Input goes to none of them. */
export async function runOnEach(
  shell: Shell,
  command: Command,
  ssi: Ssi,
  argv: readonly string[],
  options: { quiet: boolean; takes: (node: NodeInfo) => boolean },
): Promise<number> {
  const nodes = await ssi.nodes();
  if (!nodes.ok) {
    shell.fail(command, undefined, nodes);
    return exitCode.runFailed;
  }
  const nums = nodes.value.filter((n) => n.state === 'UP' && options.takes(n)).map((n) => n.num);
  if (nums.length === 0) {
    shell.note(`${command.name()}: no node that is UP is of that class`);
    return exitCode.runFailed;
  }
  const width = Math.max(...nums.map((n) => String(n).length));
  const codes = await Promise.all(
    nums.map((node) =>
      runInForeground(shell, command, ssi, argv, {
        node,
        input: false,
        ...(!options.quiet && { prefix: `node ${String(node).padStart(width)}: ` }),
      }),
    ),
  );
  return Math.max(...codes);
}
