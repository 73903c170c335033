// ssi lvs: the cluster's address, its virtual services, and the ports that programs join by listening.
import { readFileSync } from 'node:fs';
import { text as readAll } from 'node:stream/consumers';
import type { Ssi } from '@ssi/client';
import type { TableChange } from '@ssi/contracts';
import { parseIpvsadm, printRules } from '@ssi/lvs';
import type { Command } from 'commander';
import { nodeArgument, secondsArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { asking, changing } from '../director.ts';
import { changesOf, type DirectorView, isChange, listText } from '../lvs-table.ts';
import type { Shell } from '../shell.ts';
import { defineAddress, definePort } from './lvs-address.ts';

const plain = { numeric: true, stats: false, rate: false, exact: false, thresholds: false };
const plainFormat = { ...plain, nosort: false };

export const define: Define = (command, shell) => {
  command.addHelpText(
    'after',
    `
Examples:
  ssi lvs address 198.18.0.200         the cluster answers there, whatever node dies
  ssi lvs port 8000-8100 --weight 2    who listens on one of these, on any node, is a server of it
  ssi run -- python3 -m http.server    and so is this, on port 8000
  ssi lvs ls                           services, servers, connections
  ssi lvs add -t 198.18.0.200:443 -s wrr && ssi lvs add -t 198.18.0.200:443 -r 10.0.0.7:443 --fullnat
  ssi lvs save > rules; ssi lvs restore rules`,
  );
  defineAddress(command, shell);
  definePort(command, shell);
  defineChanges(command, shell);
  defineList(command, shell);
  defineStats(command, shell);
  defineWhole(command, shell);
  defineHandover(command, shell);
};

const words = {
  add: ['-A', '-a', 'a virtual service, or with -r one of its servers'],
  edit: ['-E', '-e', 'change a service, or with -r one of its servers; -w 0 drains it'],
  rm: ['-D', '-d', 'remove a service, or with -r one of its servers: what it has goes on'],
} as const;

function defineChanges(parent: Command, shell: Shell): void {
  for (const [verb, [ofService, ofServer, summary]] of Object.entries(words)) {
    const command = parent
      .command(verb)
      .description(summary)
      .usage('OPTIONS')
      .argument('[words...]', "ipvsadm's options")
      .option(
        '--node <num>',
        'node that the server is on: in the pool while that is UP',
        nodeArgument,
      )
      .option('--json', 'version of the table after it, as JSON')
      .allowUnknownOption()
      .addHelpText(
        'after',
        `
-t ADDRESS:PORT, -u ADDRESS:PORT or -f MARK is the service; -s SCHEDULER, -p [SECONDS], -b FLAGS are its.
-r ADDRESS:PORT is the server; -g (route), -m (NAT) or --fullnat, -w WEIGHT, -x UPPER, -y LOWER are its.

Examples:
  ssi lvs ${verb} -t 198.18.0.200:80${verb === 'rm' ? '' : ' -s wlc'}
  ssi lvs ${verb} -t 198.18.0.200:80 -r 10.0.0.7:8080${verb === 'rm' ? '' : ' --fullnat -w 3'}`,
      );
    command.action(
      shell.act((given: string[], options: { node?: number; json?: boolean }) => {
        const isServer = given.some((word) => word.startsWith('-r') || word === '--real-server');
        const parsed = parseIpvsadm([isServer ? ofServer : ofService, ...given]);
        if (!parsed.ok) return Promise.resolve(shell.usage(command, parsed.detail));
        const { value } = parsed;
        if (!isChange(value)) return Promise.resolve(shell.usage(command, 'nothing to change'));
        const hasServer = value.do === 'add-server' || value.do === 'edit-server';
        const change: TableChange =
          hasServer && options.node !== undefined
            ? { ...value, server: { ...value.server, node: options.node } }
            : value;
        return changing(shell, command, [change], options.json);
      }),
    );
  }
}

function summary({ node, table, out, fault }: DirectorView): string {
  const ports = table.ports.map(
    (r) => `${r.protocol} ${r.start}-${r.end} weight ${r.weight} ${r.scheduler}`,
  );
  const gone = Object.entries(out).map(
    ([name, why]) => `out: ${name} (${why === 'node' ? 'its node is not UP' : 'checks fail'})`,
  );
  return [
    `director: node ${node}, address: ${table.addresses.join(' ') || 'none'}`,
    ...(ports.length > 0 ? [`ports: ${ports.join(', ')}`] : []),
    ...gone,
    ...(fault ? [`fault: ${fault}`] : []),
    '',
  ].join('\n');
}

function defineList(parent: Command, shell: Shell): void {
  const command = parent
    .command('ls')
    .description('addresses, ports, services with the servers in their pools')
    .option('--json', 'as JSON: {node,version,table,pools,out,fault?}')
    .addHelpText('after', "\nExamples:\n  ssi lvs ls\n  ssi lvs ls --json | jq '.pools'");
  command.action(
    shell.act((options: { json?: boolean }) =>
      asking(shell, command, async (ssi) => {
        const told = await ssi.director('table', {});
        if (!told.ok) return told;
        if (options.json) return void shell.json(told.value);
        const list = await listText(ssi, told.value.pools, plainFormat);
        if (!list.ok) return list;
        shell.out(summary(told.value) + list.value);
        return undefined;
      }),
    ),
  );
}

function defineStats(parent: Command, shell: Shell): void {
  const show = async (ssi: Ssi, q: { rate?: boolean; json?: boolean }) => {
    if (q.json) {
      const stats = await ssi.director('stats', {});
      if (stats.ok) shell.json(stats.value.servers);
      return stats.ok ? undefined : stats;
    }
    const told = await ssi.director('table', {});
    if (!told.ok) return told;
    const format = { ...plainFormat, rate: q.rate ?? false, stats: !q.rate };
    const list = await listText(ssi, told.value.pools, format);
    if (list.ok) shell.out(list.value);
    return list.ok ? undefined : list;
  };
  const stats = parent
    .command('stats')
    .description('connections, packets and bytes of each server')
    .option('--rate', 'for a second')
    .option('--json', 'as JSON: [{id,address,port,active,inactive,connections,inPackets,…}]')
    .addHelpText('after', '\nExamples:\n  ssi lvs stats\n  ssi lvs stats --rate');
  stats.action(
    shell.act((options: { rate?: boolean; json?: boolean }) =>
      asking(shell, stats, (ssi) => show(ssi, options)),
    ),
  );
  const top = parent
    .command('top')
    .description('what comes in a second, again and again, until interrupted')
    .option('-d, --delay <seconds>', 'between two looks', secondsArgument, 1_000)
    .option('--json', 'counts of each look as JSON')
    .addHelpText('after', '\nExamples:\n  ssi lvs top\n  ssi lvs top -d 5');
  top.action(
    shell.act((options: { delay: number; json?: boolean }) =>
      asking(shell, top, async (ssi) => {
        for (;;) {
          const failed = await show(ssi, { rate: true, json: options.json ?? false });
          if (failed || shell.interrupted.aborted) return failed;
          if (!options.json) shell.out('\n');
          await new Promise((done) => setTimeout(done, options.delay));
        }
      }),
    ),
  );
}

function defineWhole(parent: Command, shell: Shell): void {
  const save = parent
    .command('save')
    .description("the services as ipvsadm's rules, for restore")
    .option('--json', 'the whole table as JSON')
    .addHelpText('after', '\nExamples:\n  ssi lvs save > rules');
  save.action(
    shell.act((options: { json?: boolean }) =>
      asking(shell, save, async (ssi) => {
        const told = await ssi.director('table', {});
        if (!told.ok) return told;
        if (options.json) shell.json(told.value.table);
        else shell.out(printRules(told.value.table.services));
        return undefined;
      }),
    ),
  );
  const restore = parent
    .command('restore')
    .description('put saved rules, or lvs.yaml, in the place of all services; all or nothing')
    .argument('[file]', 'default: standard input')
    .option('--json', 'version of the table after it, as JSON')
    .addHelpText('after', '\nExamples:\n  ssi lvs restore rules\n  ssi lvs restore lvs.yaml');
  restore.action(
    shell.act(async (file: string | undefined, options: { json?: boolean }) => {
      let text: string;
      try {
        text = file === undefined ? await readAll(shell.io.stdin) : readFileSync(file, 'utf8');
      } catch (error) {
        return shell.usage(restore, String(error));
      }
      const changes = changesOf(text, file ?? 'stdin');
      if (!changes.ok) return shell.usage(restore, changes.detail);
      return changing(shell, restore, changes.value, options.json);
    }),
  );
}

function defineHandover(parent: Command, shell: Shell): void {
  const command = parent
    .command('handover')
    .description('let another node direct: connections go on')
    .argument('[node]', 'default: one with the fewest key services', nodeArgument)
    .option('--json', 'as JSON: {transid,num}')
    .addHelpText('after', '\nExamples:\n  ssi lvs handover 2');
  command.action(
    shell.act((node: number | undefined, options: { json?: boolean }) =>
      asking(shell, command, async (ssi) => {
        const done = await ssi.handover('lvs', node);
        if (!done.ok) return done;
        if (options.json) shell.json(done.value);
        else shell.note(`lvs: node ${done.value.num} directs`);
        return undefined;
      }),
    ),
  );
}
