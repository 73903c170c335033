// ssi ipcrm: removes IPC objects by id, key or name. [ipcrm(1), mq_unlink(3), sem_unlink(3)]
import type { Ipc } from '@ssi/client';
import { fail, type IpcType, type Reply } from '@ssi/contracts';
import { ipcIdArgument, ipcKeyArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { exitCode } from '../status.ts';
import { withIpc } from '../with-ipc.ts';

interface Options {
  readonly queueKey?: number;
  readonly semaphoreKey?: number;
  readonly mq?: string;
  readonly psem?: string;
  readonly fifo?: string;
}

/** One that is there, by its name. */
async function byName(ipc: Ipc, type: IpcType, name: string): Promise<Reply<undefined>> {
  const found = await ipc.get(type, name, { mode: 0 });
  return found.ok ? ipc.remove(found.value.id) : found;
}

export const define: Define = (command, shell) => {
  command
    .argument('[id...]', 'ids as ssi ipcs shows them', (text: string, before: number[] = []) => [
      ...before,
      ipcIdArgument(text),
    ])
    .option('-Q, --queue-key <key>', 'a System V queue', ipcKeyArgument)
    .option('-S, --semaphore-key <key>', 'a System V semaphore set', ipcKeyArgument)
    .option('--mq <name>', 'a POSIX queue, like /jobs')
    .option('--psem <name>', 'a POSIX semaphore')
    .option('--fifo <path>', 'a fifo')
    .addHelpText(
      'after',
      `
Who waits in a System V object gets EIDRM. The others stay for who has them open.

Examples:
  ssi ipcrm 184549377
  ssi ipcrm -Q 0x1267
  ssi ipcrm --mq /jobs`,
    )
    .action(
      shell.act((ids: number[] | undefined, options: Options) => {
        const named: (readonly [IpcType, string | number | undefined])[] = [
          ...([
            ['msg', options.queueKey],
            ['sem', options.semaphoreKey],
          ] as const),
          ...([
            ['mq', options.mq],
            ['psem', options.psem],
            ['fifo', options.fifo],
          ] as const),
        ];
        const names = named.filter(([, name]) => name !== undefined);
        if (!ids?.length && names.length === 0)
          return Promise.resolve(shell.usage(command, 'which object?'));
        return withIpc(shell, command, {}, async (ipc) => {
          let code: number = exitCode.ok;
          for (const id of ids ?? []) {
            const reply = await ipc.remove(id);
            if (!reply.ok) code = shell.fail(command, id, reply);
          }
          for (const [type, name] of names) {
            const reply = await byName(ipc, type, String(name));
            if (!reply.ok)
              code = shell.fail(
                command,
                String(name),
                reply.errno === 'ENOENT' ? fail('ENOENT', `there is no such ${type}`) : reply,
              );
          }
          return code;
        });
      }),
    );
};
