// ssi lock: runs a command under a lock, as flock(1) does on one machine. The command runs here, with the
// fencing token in its environment; where the lock is lost it is ended. [flock(1); VMS DLM]
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants, hostname } from 'node:os';
import { type Errno, type LockFlag, type LockMode, lockModes } from '@ssi/contracts';
import { Option } from 'commander';
import {
  durationArgument,
  lockspaceArgument,
  nodeArgument,
  resourceArgument,
  withoutDashes,
} from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { exitCode, runFailure } from '../status.ts';

/** After SIGTERM a command that goes on without its lock gets SIGKILL. */
const graceMs = 5_000;

interface Options {
  readonly mode: LockMode;
  readonly timeout?: number;
  readonly shared?: boolean;
  readonly noqueue?: boolean;
  readonly lockspace: string;
  readonly node?: number;
}

export const define: Define = (command, shell) => {
  command
    .argument('<name>', 'the resource, up to 64 bytes', resourceArgument)
    .argument('<command...>', 'what runs under the lock, after --')
    .addOption(new Option('-m, --mode <mode>', 'lock mode').choices(lockModes).default('EX'))
    .addOption(
      new Option('-t, --timeout <time>', 'ETIMEDOUT after waiting that long, like 5s').argParser(
        durationArgument,
      ),
    )
    .option('-s, --shared', 'mode PR: beside others that read, and no writer')
    .option('-n, --noqueue', 'EAGAIN where it is not free now')
    .option('-l, --lockspace <name>', 'lockspace', lockspaceArgument, 'default')
    .option(
      '--node <num>',
      "the node whose lock manager keeps the lock; default: this one's",
      nodeArgument,
    )
    .addHelpText(
      'after',
      `
The command finds SSI_LOCK_NAME, SSI_LOCK_MODE and, for a mode that writes (CW, PW, EX), SSI_LOCK_TOKEN: a number
that only grows. Who keeps the data should refuse a smaller one than it has seen. Where the lock is lost (its node
died) the command gets SIGTERM, after 5 s SIGKILL. One ssi lock under another: where two of these wait for each
other, one ends with EDEADLK (SSI_LOCK_XID says which belong together).
Ends with the command's own status; with 1 where the lock was not granted; with 125 where it was lost.

Examples:
  ssi lock backup -- rsync -a /data backup:/data
  ssi lock --timeout 5s --shared config -- cat /shared/config
  ssi lock counter -- sh -c 'echo $SSI_LOCK_TOKEN'`,
    )
    .action(
      shell.act((name: string, argv: string[], options: Options) =>
        shell.withSsi(
          command,
          async (ssi) => {
            const label = `${withoutDashes(argv)[0] ?? '?'} ${process.pid}@${hostname()}`;
            const opening = ssi.lockspace(options.lockspace, {
              label: label.slice(0, 128),
              ...(options.node !== undefined && { node: options.node }),
              signal: shell.interrupted,
            });
            const opened = await shell.progress('asking the lock manager', opening);
            if (shell.interrupted.aborted && !opened.ok) return exitCode.interrupted;
            if (!opened.ok) return shell.fail(command, name, opened);
            const lockspace = opened.value;
            // Under another ssi lock: both wait together, and a circle of such waits is found.
            const xid = shell.io.env.SSI_LOCK_XID ?? randomBytes(8).toString('hex');
            const flags: LockFlag[] = options.noqueue ? ['NOQUEUE'] : [];
            const asked = lockspace.lock(name, options.shared ? 'PR' : options.mode, {
              flags,
              signal: shell.interrupted,
              ...(options.timeout !== undefined && { timeoutMs: options.timeout }),
              xid,
            });
            const lock = await shell.progress(`waiting for ${name}`, asked);
            if (!lock.ok) {
              await lockspace.close();
              if (shell.interrupted.aborted) return exitCode.interrupted;
              return shell.fail(command, name, lock);
            }
            const { token, mode } = lock.value;
            const env = {
              ...shell.io.env,
              ...{ SSI_LOCK_NAME: name, SSI_LOCK_MODE: mode, SSI_LOCK_XID: xid },
              ...(token !== undefined && { SSI_LOCK_TOKEN: token }),
            };
            const status = await runUnder(withoutDashes(argv), env, lockspace.lost);
            await shell.progress(`giving ${name} up`, lockspace.close());
            if (lockspace.lost.aborted) {
              shell.note(`lock: ${name}: ${(lockspace.lost.reason as Error).message}`);
              return exitCode.runFailed;
            }
            if (typeof status === 'number') return status;
            shell.note(`lock: ${argv[0]}: ${status.errno}`);
            return runFailure(status.errno);
          },
          { ownSignals: true },
        ),
      ),
    );

  /** Status as a shell gives it. Signals to us go to the command; the lock is held until it has ended. */
  function runUnder(
    argv: readonly string[],
    env: NodeJS.ProcessEnv,
    lost: AbortSignal,
  ): Promise<number | { errno: Errno }> {
    return new Promise((done) => {
      const [file = '', ...args] = argv;
      const child = spawn(file, args, { stdio: 'inherit', env });
      const passOn = (): void => void child.kill('SIGTERM');
      let killer: NodeJS.Timeout | undefined;
      const onLost = (): void => {
        child.kill('SIGTERM');
        killer = setTimeout(() => child.kill('SIGKILL'), graceMs);
      };
      if (shell.interrupted.aborted) passOn();
      if (lost.aborted) onLost();
      shell.interrupted.addEventListener('abort', passOn);
      lost.addEventListener('abort', onLost);
      const end = (status: number | { errno: Errno }): void => {
        clearTimeout(killer);
        shell.interrupted.removeEventListener('abort', passOn);
        lost.removeEventListener('abort', onLost);
        done(status);
      };
      child.once('error', (error: NodeJS.ErrnoException) =>
        end({ errno: (error.code ?? 'EIO') as Errno }),
      );
      child.once('exit', (code, signal) =>
        end(code ?? 128 + (signal ? (constants.signals[signal] ?? 0) : 0)),
      );
    });
  }
};
