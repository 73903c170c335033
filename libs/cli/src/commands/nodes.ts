// ssi nodes: who is a member, in which state, with which services.
import type { NodeInfo } from '@ssi/client';
import type { Define } from '../command-table.ts';
import { type Colour, type Column, table } from '../output.ts';

const stateColour = (n: NodeInfo): Colour =>
  n.state === 'UP' ? 'green' : n.state === 'DOWN' || n.state === 'NEVERUP' ? 'dim' : 'yellow';

const columns: Column<NodeInfo>[] = [
  { title: 'NUM', of: (n) => n.num, align: 'right' },
  { title: 'NAME', of: (n) => n.name },
  { title: 'STATE', of: (n) => n.state, colour: stateColour },
  { title: 'BOOT', of: (n) => n.incarnation.bootCount, align: 'right' },
  {
    title: 'SERVICES',
    of: (n) =>
      n.services.map((s) => `${s.name}:${s.state}`).join(' ') ||
      (n.state === 'UP' && !n.answers ? '(does not answer)' : '-'),
  },
];

const more: Column<NodeInfo>[] = [
  { title: 'MASTER', of: (n) => (n.isMaster ? 'yes' : '') },
  {
    title: 'STEP',
    of: (n) => (n.step ? `${n.step.name} waits for ${n.step.waitingFor.join(',')}` : '-'),
  },
  { title: 'KEY SERVICES', of: (n) => n.keyServices.join(',') || '-' },
  { title: 'CPUS', of: (n) => n.facts.cpus, align: 'right' },
  { title: 'KERNEL', of: (n) => n.facts.kernel },
  { title: 'ADDRESSES', of: (n) => n.facts.addresses.join(',') },
];

export const define: Define = (command, shell) => {
  command
    .option(
      '-v, --verbose',
      'also its key services, the nodedown step that runs, CPUs, kernel and addresses',
    )
    .option('--json', 'as JSON: [{num,name,state,incarnation,services:[{name,state}]}]')
    .addHelpText('after', '\nExamples:\n  ssi nodes\n  ssi nodes --json | jq ".[].state"')
    .action(
      shell.act((options: { verbose?: boolean; json?: boolean }) =>
        shell.withSsi(command, async (ssi) => {
          const reply = await shell.progress('asking every node', ssi.nodes());
          if (!reply.ok) return shell.fail(command, undefined, reply);
          if (options.json)
            shell.json(
              reply.value.map((n) => ({
                num: n.num,
                name: n.name,
                state: n.state,
                incarnation: n.incarnation,
                services: n.services,
                ...(options.verbose && {
                  master: n.isMaster,
                  step: n.step,
                  keyServices: n.keyServices,
                  facts: n.facts,
                }),
              })),
            );
          else {
            const shown = options.verbose
              ? [...columns.slice(0, 4), ...more, ...columns.slice(4)]
              : columns;
            shell.out(table(shown, reply.value, { paint: shell.paint, width: shell.width }));
          }
          return 0;
        }),
      ),
    );
};
