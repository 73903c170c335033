// ssi sem: POSIX semaphores by name. What a command waited for stays taken when it has ended: as sem_wait(3) has
// it; for what is given back by itself there is ssi lock. [sem_overview(7)]
import type { PosixSemaphore } from '@ssi/client';
import type { Reply } from '@ssi/contracts';
import type { Command } from 'commander';
import { durationArgument, modeArgument, nodeArgument, sizeArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { exitCode } from '../status.ts';
import { withIpc } from '../with-ipc.ts';

interface Options {
  readonly create?: boolean;
  readonly value?: number;
  readonly mode: number;
  readonly wait?: boolean;
  readonly timeout?: number;
  readonly node?: number;
  readonly json?: boolean;
}

export const define: Define = (command, shell) => {
  const verb = (
    name: string,
    summary: string,
    work: (sem: PosixSemaphore, options: Options) => Promise<Reply<number | undefined>>,
    more: (c: Command) => Command = (c) => c,
  ): void => {
    const sub = more(
      command
        .command(name)
        .description(summary)
        .argument('<name>', 'like /slots')
        .option('-c, --create', 'make it where there is none')
        .option('--value <n>', 'of a new one', sizeArgument, 0)
        .option('--mode <mode>', 'of a new one', modeArgument, 0o600)
        .option('--node <num>', "the node that is asked; default: this one's", nodeArgument),
    );
    sub.action(
      shell.act((name: string, options: Options) =>
        withIpc(shell, sub, options, async (ipc) => {
          const { create = false, value = 0, mode } = options;
          const sem = await ipc.semOpen(name, { create, value, mode });
          const reply = sem.ok
            ? await shell.progress(`waiting for ${name}`, work(sem.value, options))
            : sem;
          if (!reply.ok) return shell.fail(sub, name, reply);
          if (typeof reply.value === 'number') shell.out(`${reply.value}\n`);
          return exitCode.ok;
        }),
      ),
    );
  };
  verb(
    'wait',
    'takes one, as soon as there is one',
    (sem, { wait, timeout }) =>
      sem.wait({ nowait: wait === false, ...(timeout !== undefined && { timeoutMs: timeout }) }),
    (c) =>
      c
        .option('-n, --no-wait', 'EAGAIN instead of waiting')
        .option('-t, --timeout <time>', 'ETIMEDOUT after waiting that long', durationArgument)
        .addHelpText(
          'after',
          '\nExamples:\n  ssi sem wait --create --value 3 /slots && work; ssi sem post /slots',
        ),
  );
  verb('post', 'gives one back', (sem) => sem.post());
  verb('value', 'how many there are', (sem) => sem.value());
};
