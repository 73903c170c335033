// ssi view: the membership itself, as numbered and agreed.
import type { Define } from '../command-table.ts';
import { table } from '../output.ts';

export const define: Define = (command, shell) => {
  command
    .option('--json', 'the whole view as JSON')
    .addHelpText('after', '\nExamples:\n  ssi view\n  ssi view --json | jq .transid')
    .action(
      shell.act((options: { json?: boolean }) =>
        shell.withSsi(command, async (ssi) => {
          const reply = await ssi.view();
          if (!reply.ok) return shell.fail(command, undefined, reply);
          const { transid, term, master, members, keyServices } = reply.value;
          if (options.json) {
            shell.json(reply.value);
            return 0;
          }
          const keys = Object.entries(keyServices).map(
            ([name, k]) =>
              `${name} on ${k.num} since ${k.since}${k.to ? `, going to ${k.to}` : ''}`,
          );
          shell.out(`transid ${transid}, term ${term}, master node ${master}\n`);
          if (keys.length > 0) shell.out(`key services: ${keys.join('; ')}\n`);
          shell.out(
            table(
              [
                { title: 'NUM', of: (m) => m.num, align: 'right' },
                { title: 'NAME', of: (m) => m.name },
                { title: 'STATE', of: (m) => m.state },
                {
                  title: 'INCARNATION',
                  of: (m) => `${m.incarnation.bootCount}:${m.incarnation.bootId}`,
                },
              ],
              members,
              { paint: shell.paint, width: shell.width },
            ),
          );
          return 0;
        }),
      ),
    );
};
