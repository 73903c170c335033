// ssi ipcs: every IPC object of the cluster, as ipcs(1) shows those of one machine.
import { type IpcInfo, type IpcType, ipcTypes } from '@ssi/contracts';
import { Option } from 'commander';
import type { Define } from '../command-table.ts';
import { type Column, table } from '../output.ts';

interface Options {
  readonly type?: IpcType;
  readonly json?: boolean;
}

/** What there is of it, in the words of its type. */
function holds({ type, stat }: IpcInfo): string {
  if (type === 'msg') return `${stat.holds} messages, ${stat.bytes} of ${stat.queueBytes} bytes`;
  if (type === 'mq') return `${stat.holds} of ${stat.maxMessages} messages, ${stat.bytes} bytes`;
  if (type === 'sem') return `${stat.nsems} semaphores`;
  if (type === 'psem') return `value ${stat.holds}`;
  return `${stat.bytes} bytes, ${stat.readers} readers, ${stat.writers} writers`;
}

const columns: readonly Column<IpcInfo>[] = [
  { title: 'ID', of: (o) => o.id, align: 'right' },
  { title: 'TYPE', of: (o) => o.type },
  { title: 'NAME', of: (o) => o.name ?? '-' },
  { title: 'NODE', of: (o) => o.node, align: 'right' },
  { title: 'UID', of: (o) => o.perm.uid, align: 'right' },
  { title: 'MODE', of: (o) => o.perm.mode.toString(8).padStart(3, '0') },
  { title: 'WAITING', of: (o) => o.stat.waiting, align: 'right' },
  { title: 'HOLDS', of: holds },
];

export const define: Define = (command, shell) => {
  command
    .addOption(new Option('-t, --type <type>', 'only this type').choices(ipcTypes))
    .option('--json', 'as JSON: [{id,type,name,node,perm,stat}]')
    .addHelpText(
      'after',
      `
msg and sem are System V's, by their key; mq and psem POSIX queues and semaphores; a fifo without a name is a pipe.

Examples:
  ssi ipcs
  ssi ipcs --type sem --json | jq '.[].id'`,
    )
    .action(
      shell.act((options: Options) =>
        shell.withSsi(command, async (ssi) => {
          const reply = await ssi.ipcs(options.type);
          if (!reply.ok) return shell.fail(command, undefined, reply);
          const { objects, silent, truncated } = reply.value;
          if (truncated) shell.note('ipcs: there are more; look at one type with --type');
          for (const { node, errno } of silent)
            shell.note(`ipcs: node ${node} did not answer (${errno}): what it has is missing`);
          if (options.json) shell.json(objects);
          else shell.out(table(columns, objects, { paint: shell.paint, width: shell.width }));
          return 0;
        }),
      ),
    );
};
