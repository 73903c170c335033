// ssi events: membership transitions the cluster remembers, then each as it comes.
import type { ClusterEvent } from '@ssi/client';
import type { Define } from '../command-table.ts';
import { jsonLine } from '../output.ts';

const lineOf = (e: ClusterEvent): string =>
  `${new Date(e.atMs).toISOString()}  ${e.transid}  node ${e.num}  ${e.from} -> ${e.to}${e.detail ? `  ${e.detail}` : ''}\n`;

export const define: Define = (command, shell) => {
  command
    .option('--no-follow', 'end after those that the cluster remembers')
    .option('--new', 'only those that come from now on')
    .option('--json', 'one JSON object a line: {transid,atMs,num,from,to,detail}')
    .addHelpText('after', '\nExamples:\n  ssi events --no-follow\n  ssi events --new --json')
    .action(
      shell.act((options: { follow: boolean; new?: boolean; json?: boolean }) =>
        shell.withSsi(command, async (ssi) => {
          const show = (e: ClusterEvent): void => shell.out(options.json ? jsonLine(e) : lineOf(e));
          if (!options.follow) {
            const reply = await ssi.history();
            if (!reply.ok) return shell.fail(command, undefined, reply);
            for (const event of reply.value) show(event);
            return 0;
          }
          const { interrupted: signal } = shell;
          for await (const e of ssi.events({ from: options.new ? 'now' : 'start', signal }))
            show(e);
          return 0;
        }),
      ),
    );
};
