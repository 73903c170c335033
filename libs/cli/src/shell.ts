// What every command is handed: a cluster to talk to and ways to print, fail and show progress. A command
// is a function that ends with an exit code; nothing in it ends the process.
import type { Ssi } from '@ssi/client';
import type { Failure } from '@ssi/contracts';
import type { Command } from 'commander';
import type { Io } from './io.ts';
import { errorLine, json, type Paint, paintFor } from './output.ts';
import { exitCode } from './status.ts';

export interface Shell {
  readonly io: Io;
  /** For standard output; colourless where it is no terminal. */
  readonly paint: Paint;
  /** Width of the terminal; undefined: no terminal, nothing is cut. */
  readonly width: number | undefined;
  /** Fires on SIGINT or SIGTERM, unless a command took those over. */
  readonly interrupted: AbortSignal;
  status: number;
  /** Makes a commander action of a function that gives an exit code. */
  act<A extends unknown[]>(fn: (...args: A) => Promise<number>): (...args: A) => Promise<void>;
  /**
   * With a connected cluster, closed afterwards. Not connected: says why and gives `notConnected`.
   * `ownSignals`: the command passes signals on; they do not interrupt it once it is connected.
   * `interrupted`: what holds after an interruption; said then. Failures after it are not.
   */
  withSsi(
    command: Command,
    fn: (ssi: Ssi) => Promise<number>,
    options?: { notConnected?: number; ownSignals?: boolean; interrupted?: string },
  ): Promise<number>;
  out(text: string): void;
  json(value: unknown): void;
  /** A line for people on standard error. */
  note(text: string): void;
  /** Prints the failure; gives `failed`, to be returned. */
  fail(command: Command, subject: string | number | undefined, failure: Failure): number;
  /** Wrong arguments: prints why; gives `usage`. */
  usage(command: Command, text: string): number;
  /** Resolves at SIGINT or SIGTERM; until then the process stays although it has nothing to do. */
  untilInterrupted(): Promise<void>;
  /** Waits; from one second on standard error says what for. */
  progress<T>(text: string, work: Promise<T>): Promise<T>;
}

export interface ShellControl extends Shell {
  interrupt(): void;
}

const progressAfterMs = 1_000;

export function createShell(io: Io): ShellControl {
  const abort = new AbortController();
  let abandoned = false;
  const shell: ShellControl = {
    io,
    paint: paintFor(io.stdout, io.env),
    width: io.stdout.isTTY ? io.stdout.columns : undefined,
    interrupted: abort.signal,
    status: exitCode.ok,
    interrupt: () => abort.abort(),
    act:
      (fn) =>
      async (...args) => {
        shell.status = await fn(...args);
      },
    withSsi: async (command, fn, options = {}) => {
      const cluster = command.optsWithGlobals().cluster as string | undefined;
      const connecting = io.connect({ cluster });
      const connected = await orInterrupted(shell, shell.progress('connecting', connecting));
      if (connected === undefined) return exitCode.interrupted;
      if (!connected.ok) {
        shell.fail(command, undefined, connected);
        return options.notConnected ?? exitCode.failed;
      }
      const ssi = connected.value;
      try {
        if (options.ownSignals) return await fn(ssi);
        const status = await orInterrupted(shell, fn(ssi));
        if (status !== undefined) return status;
        if (options.interrupted)
          shell.note(`${command.name()}: interrupted; ${options.interrupted}`);
        // What the command was at ends with the connection: an error that nobody needs to read.
        abandoned = true;
        return exitCode.interrupted;
      } finally {
        await ssi.close();
      }
    },
    out: (text) => void io.stdout.write(text),
    json: (value) => void io.stdout.write(json(value)),
    note: (text) => void io.stderr.write(`ssi: ${text}\n`),
    fail: (command, subject, failure) => {
      if (abandoned) return exitCode.failed;
      const about = subject === undefined ? undefined : String(subject);
      io.stderr.write(errorLine(command.name(), about, failure));
      return exitCode.failed;
    },
    usage: (command, text) => {
      io.stderr.write(`ssi: ${command.name()}: ${text}; see: ssi ${command.name()} --help\n`);
      return exitCode.usage;
    },
    untilInterrupted: () =>
      new Promise((done) => {
        const alive = setInterval(() => {}, 2 ** 30);
        const stop = (): void => {
          clearInterval(alive);
          done();
        };
        if (abort.signal.aborted) stop();
        abort.signal.addEventListener('abort', stop, { once: true });
      }),
    progress: (text, work) => showProgress(io, text, work),
  };
  return shell;
}

/** undefined: interrupted first. The work goes on without anybody listening. */
async function orInterrupted<T>(shell: Shell, work: Promise<T>): Promise<T | undefined> {
  const signal = shell.interrupted;
  if (signal.aborted) return undefined;
  let stop = (): void => {};
  const aborted = new Promise<undefined>((done) => {
    stop = () => done(undefined);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

async function showProgress<T>(io: Io, text: string, work: Promise<T>): Promise<T> {
  const started = performance.now();
  let shown = false;
  const show = (): void => {
    const seconds = Math.round((performance.now() - started) / 1000);
    if (io.stderr.isTTY) io.stderr.write(`\r\u001b[Kssi: ${text} ... ${seconds} s`);
    else if (!shown) io.stderr.write(`ssi: ${text} ...\n`);
    shown = true;
  };
  const timer = setInterval(show, progressAfterMs);
  timer.unref();
  try {
    return await work;
  } finally {
    clearInterval(timer);
    if (shown && io.stderr.isTTY) io.stderr.write('\r\u001b[K');
  }
}
