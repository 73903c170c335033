// onclass: runs a command on every UP node of a class. Classes come from what nodes say of themselves:
// `all`, `native` (runs programs), the architecture, and `cpu:FLAG`. [onclass(1)]
import type { NodeInfo } from '@ssi/client';
import { InvalidArgumentError } from 'commander';
import { withoutDashes } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { runOnEach } from '../on-each.ts';
import { withProgram } from '../start-program.ts';

export type NodeClass = (node: NodeInfo) => boolean;

export function classArgument(text: string): NodeClass {
  if (text === 'all') return () => true;
  if (text === 'native') return (n) => n.facts.native;
  if (/^(x86_64|aarch64|x64|arm64)$/.test(text)) return (n) => n.facts.arch === text;
  if (/^cpu:\w+$/.test(text)) return (n) => n.facts.cpuFlags.includes(text.slice(4));
  throw new InvalidArgumentError('Classes are: all, native, x86_64, aarch64, cpu:FLAG.');
}

export const define: Define = (command, shell) => {
  command
    .usage('CLASS COMMAND [ARGUMENTS]')
    .argument('<class>', 'all, native, an architecture, or cpu:FLAG', classArgument)
    .argument('<command...>', 'program and its arguments')
    .option('-q, --quiet', 'no node before each line')
    .passThroughOptions()
    .addHelpText(
      'after',
      '\nExamples:\n  ssi onclass native uname -r\n  ssi onclass cpu:avx2 ./bench',
    )
    .action(
      shell.act((takes: NodeClass, argv: string[], options: { quiet?: boolean }) =>
        withProgram(shell, command, (ssi) =>
          runOnEach(shell, command, ssi, withoutDashes(argv), {
            quiet: options.quiet ?? false,
            takes,
          }),
        ),
      ),
    );
};
