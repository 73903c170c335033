// Starting a program of the command line in the cluster: what every way of starting one shares.
import type { RunRequest, Ssi } from '@ssi/client';
import type { Failure } from '@ssi/contracts';
import type { Command } from 'commander';
import { foreground } from './foreground.ts';
import type { Shell } from './shell.ts';
import { exitCode, runFailure } from './status.ts';

export interface StartOptions {
  readonly node?: number;
  readonly pin?: boolean;
  readonly tty?: boolean;
  readonly input: boolean;
  readonly sigcluster?: number;
  readonly ioUring?: boolean;
  readonly privateIpc?: boolean;
  readonly addr?: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly prefix?: string;
}

/** Credentials are not handed to every program of the cluster, nor what is true of our own node only. */
const withheld = new Set([
  ...['SSI_NATS', 'SSI_REDIS', 'SSI_NODE', 'SSI_NAME', 'SSI_NODE_DIR', 'SSI_STATE_DIR'],
  ...['SSI_CREDS', 'SSI_CREDS_DIR'],
  ...['SSI_LOG_DIR', 'SSI_CGROUP', 'SSI_ADDRESSES', 'SSI_SERVICES', 'SSI_FAILPOINTS'],
]);

export function requestOf(
  shell: Shell,
  argv: readonly string[],
  options: StartOptions,
): RunRequest {
  const { io } = shell;
  const env = Object.entries({ ...io.env, ...options.env }).flatMap(([name, value]) =>
    value === undefined || withheld.has(name) ? [] : [[name, value] as const],
  );
  return {
    argv: [...argv],
    env: Object.fromEntries(env),
    cwd: options.cwd ?? io.cwd,
    ...(options.node !== undefined && { node: options.node }),
    ...(options.pin && { pin: true }),
    ...(options.sigcluster !== undefined && { sigcluster: options.sigcluster }),
    ...(!options.input && { noInput: true }),
    ...(options.ioUring && { ioUring: true }),
    ...(options.privateIpc && { privateIpc: true }),
    ...(options.addr !== undefined && { addr: options.addr }),
    ...(options.tty && { tty: { rows: io.stdout.rows ?? 24, cols: io.stdout.columns ?? 80 } }),
  };
}

/** There never was a program: says why and what to do; gives the exit code. */
export function notStarted(
  shell: Shell,
  command: Command,
  name: string | undefined,
  failure: Failure,
): number {
  const code = runFailure(failure.errno);
  const remedy =
    code === exitCode.notFound
      ? '; it must be in the PATH, and on that node'
      : code === exitCode.cannotExecute
        ? '; it must be a program that its user may execute'
        : failure.errno === 'EOPNOTSUPP'
          ? '; what a node needs for more: ssi doctor'
          : '';
  shell.fail(command, name, { ...failure, detail: failure.detail + remedy });
  return code;
}

/** Starts it and stays with it until it ends; gives its status. */
export async function runInForeground(
  shell: Shell,
  command: Command,
  ssi: Ssi,
  argv: readonly string[],
  options: StartOptions,
): Promise<number> {
  // A signal that comes before the program is there reaches it as soon as it is.
  const early: NodeJS.Signals[] = [];
  const catching = shell.io.onSignals(['SIGINT', 'SIGTERM', 'SIGHUP'], (name) => early.push(name));
  const started = await shell.progress('starting', ssi.run(requestOf(shell, argv, options)));
  catching.stop();
  if (!started.ok) return notStarted(shell, command, argv[0], started);
  const { pid } = started.value;
  for (const name of early) await ssi.kill(pid, { SIGINT: 2, SIGHUP: 1 }[name as string] ?? 15);
  return foreground(shell, command, ssi, pid, {
    input: options.input,
    tty: options.tty ?? false,
    passSignals: true,
    reap: true,
    ...(options.prefix !== undefined && { prefix: options.prefix }),
  });
}

/** withSsi for commands that end with a program's status: SIGINT is theirs, not the shell's. */
export const withProgram = (
  shell: Shell,
  command: Command,
  fn: (ssi: Ssi) => Promise<number>,
): Promise<number> =>
  shell.withSsi(command, fn, { notConnected: exitCode.runFailed, ownSignals: true });
