// fast: runs a command on the node with the least to do. [fast(1)]
import type { Define } from '../command-table.ts';
import { runInForeground, withProgram } from '../start-program.ts';

export const define: Define = (command, shell) => {
  command
    .usage('COMMAND [ARGUMENTS]')
    .argument('<command...>', 'program and its arguments')
    .option('-t, --tty', 'give it a terminal')
    .passThroughOptions()
    .addHelpText('after', '\nExamples:\n  ssi fast make -j4')
    .action(
      shell.act((argv: string[], options: { tty?: boolean }) =>
        withProgram(shell, command, (ssi) =>
          runInForeground(shell, command, ssi, argv, { ...options, input: true }),
        ),
      ),
    );
};
