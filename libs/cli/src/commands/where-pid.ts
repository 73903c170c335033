// where_pid: the bare node number, as OpenSSI's command of that name prints it. [where_pid(1)]
import { pidArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';

export const define: Define = (command, shell) => {
  command
    .argument('<pid>', 'a process', pidArgument)
    .option('--json', 'as JSON: {pid,node}')
    .addHelpText('after', '\nExamples:\n  ssi where_pid 65601')
    .action(
      shell.act((pid: number, options: { json?: boolean }) =>
        shell.withSsi(command, async (ssi) => {
          const reply = await ssi.where(pid);
          if (!reply.ok) return shell.fail(command, pid, reply);
          if (options.json) shell.json({ pid, node: reply.value.node });
          else shell.out(`${reply.value.node}\n`);
          return 0;
        }),
      ),
    );
};
