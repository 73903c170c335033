// onall: runs a command on every UP node at once, each line with the node it came from. [onall(1)]
import type { Define } from '../command-table.ts';
import { runOnEach } from '../on-each.ts';
import { withProgram } from '../start-program.ts';

export const define: Define = (command, shell) => {
  command
    .usage('COMMAND [ARGUMENTS]')
    .argument('<command...>', 'program and its arguments')
    .option('-q, --quiet', 'no node before each line')
    .passThroughOptions()
    .addHelpText(
      'after',
      '\nEnds with the highest status of all.\n\nExamples:\n  ssi onall uptime\n  ssi onall -- sh -c "echo \\$\\$"',
    )
    .action(
      shell.act((argv: string[], options: { quiet?: boolean }) =>
        withProgram(shell, command, (ssi) =>
          runOnEach(shell, command, ssi, argv, {
            quiet: options.quiet ?? false,
            takes: () => true,
          }),
        ),
      ),
    );
};
