// ssi where: on which node a process executes, as its origin knows.
import { pidsArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { exitCode } from '../status.ts';

export const define: Define = (command, shell) => {
  command
    .argument('<pid...>', 'processes', pidsArgument)
    .option('--json', 'as JSON: [{pid,node,phase,hop,kind,ppid,pgid,sid}]')
    .addHelpText(
      'after',
      '\nExamples:\n  ssi where 65601\n  ssi where 65601 --json | jq ".[].node"',
    )
    .action(
      shell.act((pids: number[], options: { json?: boolean }) =>
        shell.withSsi(command, async (ssi) => {
          let code: number = exitCode.ok;
          const found: object[] = [];
          for (const pid of pids) {
            const reply = await shell.progress(`asking for ${pid}`, ssi.where(pid));
            if (!reply.ok) {
              code = shell.fail(command, pid, reply);
              continue;
            }
            const { node, phase, hop, kind, ppid, pgid, sid } = reply.value;
            found.push({ pid, node, phase, hop, kind, ppid, pgid, sid });
            const note = { live: '', doubt: ' (moving)', exited: ' (ended there)' }[phase];
            if (!options.json) shell.out(`${pid}: node ${node}${note}\n`);
          }
          if (options.json) shell.json(found);
          return code;
        }),
      ),
    );
};
