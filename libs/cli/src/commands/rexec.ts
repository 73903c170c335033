// ssi rexec: puts another program in the place of a running process, on another node, under the same pid.
import { nodeArgument, pidArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { requestOf } from '../start-program.ts';

export const define: Define = (command, shell) => {
  command
    .argument('<pid>', 'process to replace', pidArgument)
    .argument('<node>', 'where the new program runs', nodeArgument)
    .argument('<command...>', 'program and arguments; put -- before it')
    .option('--json', 'as JSON: {pid,node}')
    .addHelpText(
      'after',
      `
It keeps pid, standard streams, working directory and user; the environment is that of this command.
Where the program cannot be started the old one runs on.

Examples:
  ssi rexec 65601 2 -- /usr/bin/python3 server.py`,
    )
    .action(
      shell.act((pid: number, to: number, argv: string[], options: { json?: boolean }) =>
        shell.withSsi(command, async (ssi) => {
          const { env = {} } = requestOf(shell, argv, { input: false, tty: false });
          const reply = await ssi.rexec(pid, to, argv, env);
          if (!reply.ok) return shell.fail(command, pid, reply);
          if (options.json) shell.json(reply.value);
          else shell.out(`${pid}: ${argv[0]} on node ${reply.value.node}\n`);
          return 0;
        }),
      ),
    );
};
