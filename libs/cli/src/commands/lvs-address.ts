// ssi lvs address, ssi lvs port: where the cluster answers, and which ports programs join by listening.
import {
  type PortRange,
  type SchedulerFlag,
  type SchedulerName,
  schedulerName,
  type TableChange,
} from '@ssi/contracts';
import { type Command, Option } from 'commander';
import { addressArgument, portsArgument, weightArgument } from '../arguments.ts';
import { asking, changing } from '../director.ts';
import type { Shell } from '../shell.ts';

export function defineAddress(parent: Command, shell: Shell): void {
  const command = parent
    .command('address')
    .description('the addresses that the cluster answers for; with one: it does from now on')
    .argument('[address]', 'a free IPv4 address in the network of the nodes', addressArgument)
    .option('--rm', 'no more for that one')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  ssi lvs address\n  ssi lvs address 198.18.0.200\n  ssi lvs address --rm 198.18.0.200',
    );
  command.action(
    shell.act((address: string | undefined, options: { rm?: boolean; json?: boolean }) => {
      if (address !== undefined) {
        const change: TableChange = {
          do: options.rm ? 'delete-address' : 'add-address',
          address,
        };
        return changing(shell, command, [change], options.json);
      }
      return asking(shell, command, async (ssi) => {
        const told = await ssi.director('table', {});
        if (!told.ok) return told;
        const { addresses } = told.value.table;
        if (options.json) shell.json(addresses);
        else shell.out(addresses.map((a) => `${a}\n`).join(''));
        return undefined;
      });
    }),
  );
}

interface PortOptions {
  readonly weight: number;
  readonly scheduler: SchedulerName;
  readonly udp?: boolean;
  readonly rm?: boolean;
  readonly json?: boolean;
}

/** Alike at every director, also without what the former one knew: the client's address and port say where. */
const alike: readonly SchedulerFlag[] = ['sh-port', 'sh-fallback'];

export function definePort(parent: Command, shell: Shell): void {
  const command = parent
    .command('port')
    .description('ports that programs join by listening on them; none: those there are')
    .argument('[ports]', 'FIRST-LAST or one', portsArgument)
    .option('--weight <n>', 'of each node that listens', weightArgument, 1)
    .addOption(
      new Option('--scheduler <name>', 'how a node is chosen')
        .choices(schedulerName.options)
        .default('sh'),
    )
    .option('--udp', 'UDP ports; default: TCP')
    .option('--rm', 'no more')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
A program that listens on such a port, for any address of its node, is a server of the cluster's address with that
port, wherever it runs; when it moves it takes its place along. Its clients see the cluster's address, it sees theirs.

Examples:
  ssi lvs port 8000-8100 --weight 2
  ssi lvs port --rm 8000-8100`,
    );
  command.action(
    shell.act((range: { start: number; end: number } | undefined, options: PortOptions) => {
      const protocol = options.udp ? 'udp' : 'tcp';
      if (range === undefined)
        return asking(shell, command, async (ssi) => {
          const told = await ssi.director('table', {});
          if (!told.ok) return told;
          if (options.json) shell.json(told.value.table.ports);
          else shell.out(told.value.table.ports.map(lineOf).join(''));
          return undefined;
        });
      const { weight, scheduler } = options;
      const flags = scheduler === 'sh' ? [...alike] : [];
      const change: TableChange = options.rm
        ? { do: 'delete-ports', ports: { ...range, protocol } }
        : { do: 'add-ports', ports: { ...range, protocol, weight, scheduler, flags } };
      return changing(shell, command, [change], options.json);
    }),
  );
}

const lineOf = (r: PortRange): string =>
  `${r.protocol} ${r.start}-${r.end} --weight ${r.weight} --scheduler ${r.scheduler}\n`;
