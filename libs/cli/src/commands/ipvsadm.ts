// ssi ipvsadm: the cluster's virtual server table by ipvsadm's own command line. [ipvsadm(8)]
import { text as readAll } from 'node:stream/consumers';
import { parseIpvsadm, printRules } from '@ssi/lvs';
import type { Define } from '../command-table.ts';
import { changesOf, isChange, listText } from '../lvs-table.ts';

export const define: Define = (command, shell) => {
  command
    .usage('COMMAND [OPTIONS]')
    .argument('[words...]', "ipvsadm's own command and options")
    .helpOption('--help', 'how to use it')
    .allowUnknownOption()
    .passThroughOptions()
    .addHelpText(
      'after',
      `
-A -E -D -C -a -e -d -L -Z -S -R with -t -u -f -s -p -M -b -r -g -m --fullnat -w -x -y -n --stats --rate --exact
--thresholds --nosort, as in ipvsadm(8); -L prints what ipvsadm prints. The list shows what is in the pools, joined
programs included; -S and -R the table itself. -R takes the place of all, or changes nothing.

Examples:
  ssi ipvsadm -A -t 198.18.0.200:80 -s wrr
  ssi ipvsadm -a -t 198.18.0.200:80 -r 10.0.0.7:8080 --fullnat -w 2
  ssi ipvsadm -L -n --stats
  ssi ipvsadm -S > rules; ssi ipvsadm -R < rules`,
    )
    .action(
      shell.act(async (words: string[]) => {
        const parsed = parseIpvsadm(words);
        if (!parsed.ok) return shell.usage(command, parsed.detail);
        const asked = parsed.value;
        const rules = asked.do === 'restore' ? await readAll(shell.io.stdin) : '';
        const restored = asked.do === 'restore' ? changesOf(rules, 'stdin') : undefined;
        if (restored && !restored.ok) return shell.usage(command, restored.detail);
        return shell.withSsi(command, async (ssi) => {
          const changes = restored?.value ?? (isChange(asked) ? [asked] : undefined);
          if (changes) {
            const done = await ssi.director('change', { changes });
            return done.ok ? 0 : shell.fail(command, undefined, done);
          }
          if (asked.do === 'zero') {
            const done = await ssi.director('zero', asked.id ? { id: asked.id } : {});
            return done.ok ? 0 : shell.fail(command, undefined, done);
          }
          const told = await ssi.director('table', {});
          if (!told.ok) return shell.fail(command, undefined, told);
          if (asked.do !== 'list') {
            shell.out(printRules(told.value.table.services));
            return 0;
          }
          const list = await listText(ssi, told.value.pools, asked.format, asked.id);
          if (!list.ok) return shell.fail(command, undefined, list);
          shell.out(list.value);
          return 0;
        });
      }),
    );
};
