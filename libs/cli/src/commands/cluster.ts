// cluster: states of the nodes as OpenSSI's command of that name prints them, and the way to start a
// cluster whose majority is lost. [cluster(1)]
import { nodeArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { exitCode } from '../status.ts';

export const define: Define = (command, shell) => {
  command
    .option('--json', 'as JSON: [{num,name,state}]')
    .addHelpText('after', '\nExamples:\n  ssi cluster\n  ssi cluster bootstrap --force')
    .action(
      shell.act((options: { json?: boolean }) =>
        shell.withSsi(command, async (ssi) => {
          const reply = await ssi.view();
          if (!reply.ok) return shell.fail(command, undefined, reply);
          const rows = reply.value.members.map(({ num, name, state }) => ({ num, name, state }));
          if (options.json) shell.json(rows);
          else for (const { num, state } of rows) shell.out(`${num}: ${state}\n`);
          return exitCode.ok;
        }),
      ),
    );

  const bootstrap = command
    .command('bootstrap')
    .description(
      'start although a majority of the last view is missing: only if those nodes are off',
    )
    .option('--force', 'yes, the missing nodes are really off')
    .option('--node <num>', 'the node that forms the cluster', nodeArgument, 1)
    .exitOverride();
  bootstrap.action(
    shell.act(async (options: { force?: boolean; node: number }) => {
      if (!options.force)
        return shell.usage(
          bootstrap,
          'two halves of a cluster could both run; say --force if the others are off',
        );
      return shell.withSsi(bootstrap, async (ssi) => {
        const reply = await ssi.bootstrap(options.node);
        if (!reply.ok) return shell.fail(bootstrap, `node ${options.node}`, reply);
        shell.out(`transid ${reply.value.transid}\n`);
        return exitCode.ok;
      });
    }),
  );
};
