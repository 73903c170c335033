// onnode: runs a command on one node, in the foreground. [onnode(1)]
import { nodeArgument, withoutDashes } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { runInForeground, withProgram } from '../start-program.ts';

export const define: Define = (command, shell) => {
  command
    .usage('[-p] NODE COMMAND [ARGUMENTS]')
    .argument('<node>', 'number of the node', nodeArgument)
    .argument('<command...>', 'program and its arguments')
    .option('-p, --pin', 'not to be moved')
    .option('-t, --tty', 'give it a terminal')
    .passThroughOptions()
    .addHelpText('after', '\nExamples:\n  ssi onnode 2 hostname\n  ssi onnode -p 3 -t bash')
    .action(
      shell.act((node: number, argv: string[], options: { pin?: boolean; tty?: boolean }) =>
        withProgram(shell, command, (ssi) =>
          runInForeground(shell, command, ssi, withoutDashes(argv), {
            ...options,
            node,
            input: true,
          }),
        ),
      ),
    );
};
