// node_self: number of the node this command runs on. Asks nobody. [node_self(1)]
import type { Define } from '../command-table.ts';

export const define: Define = (command, shell) => {
  command
    .option('--json', 'as JSON: {node}')
    .addHelpText('after', '\nExamples:\n  ssi onnode 2 ssi node_self')
    .action(
      shell.act(async (options: { json?: boolean }) => {
        const { clusternodeNum } = await import('@ssi/client');
        const reply = clusternodeNum(shell.io.env);
        if (!reply.ok) return shell.fail(command, undefined, reply);
        if (options.json) shell.json({ node: reply.value });
        else shell.out(`${reply.value}\n`);
        return 0;
      }),
    );
};
