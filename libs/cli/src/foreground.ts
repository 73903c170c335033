// A process of the cluster on this terminal, as if it ran here: its output, our input, signals and size
// passed on, its status as ours. Used by run, attach and the on* commands.

import type { Writable } from 'node:stream';
import type { Attachment, Ssi } from '@ssi/client';
import type { ExitStatus } from '@ssi/contracts';
import type { Command } from 'commander';
import type { Shell } from './shell.ts';
import { exitCode, signalNumber, statusOf } from './status.ts';

export interface ForegroundOptions {
  /** Our standard input goes to it. */
  readonly input: boolean;
  /** It has a terminal: ours is raw while we are attached, and its size follows ours. */
  readonly tty: boolean;
  /** Signals we get go to its process group; without it SIGINT only detaches. */
  readonly passSignals: boolean;
  /** Put before each line of output (onall). */
  readonly prefix?: string;
  readonly from?: 'start' | 'end';
  /** Its status is taken from the cluster at the end. */
  readonly reap: boolean;
}

/** Detaches from a raw terminal, as telnet(1) has it: Ctrl-]. */
const detachKey = 0x1d;
/** Ctrl-C that the program ignores: after this many we leave it alone. */
const interruptsMax = 3;
const passed = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT'] as const;

/** Resolves with the exit code of the command. */
export async function foreground(
  shell: Shell,
  command: Command,
  ssi: Ssi,
  pid: number,
  options: ForegroundOptions,
): Promise<number> {
  const attached = ssi.attach(pid, { input: options.input, from: options.from ?? 'start' });
  // Leaving it: settles even while its output waits for somebody to read ours.
  const left = Promise.withResolvers<number>();
  const detach = (): void => {
    shell.note(`detached; ${pid} runs on: ssi attach ${pid}, ssi kill ${pid}`);
    left.resolve(exitCode.ok);
  };
  const releases = [
    passSignals(shell, ssi, pid, options, detach),
    endWithReader(shell, ssi, pid, options, left.resolve),
    ...(options.tty ? [rawTerminal(shell, ssi, pid)] : []),
    ...(options.input ? [feed(shell, attached, options.tty, detach)] : []),
  ];
  try {
    const status = await Promise.race([show(shell, command, pid, attached, options), left.promise]);
    if (typeof status === 'number') return status;
    if (options.reap) await ssi.wait(pid, { noHang: true });
    if (status.reason) shell.note(`${command.name()}: ${pid}: ${status.reason} its node died`);
    return statusOf(status);
  } finally {
    for (const release of releases.reverse()) release.stop();
    attached.close();
  }
}

/** Its output to ours until it ends; gives the status, or an exit code when that cannot be had. */
async function show(
  shell: Shell,
  command: Command,
  pid: number,
  attached: Attachment,
  options: ForegroundOptions,
): Promise<ExitStatus | number> {
  const { io } = shell;
  const writers = {
    out: lineWriter(io.stdout, options.prefix),
    err: lineWriter(io.stderr, options.prefix),
  };
  for await (const event of attached.events()) {
    if (event.type === 'data') {
      await (event.stream === 'err' ? writers.err : writers.out).write(event.bytes);
    } else if (event.type === 'gap') {
      shell.note(`${command.name()}: ${pid}: ${event.bytes} bytes of output are no longer kept`);
    } else if (event.type === 'exit') {
      await writers.out.end();
      await writers.err.end();
      return event.status;
    } else if (event.type === 'failed') {
      shell.fail(command, pid, event.failure);
      return exitCode.runFailed;
    }
  }
  return exitCode.runFailed;
}

/** Resolves when the stream took it: not reading our output is back-pressure on the program. */
const written = (stream: Writable, bytes: Uint8Array): Promise<void> =>
  new Promise((done) => {
    if (stream.write(bytes)) done();
    else stream.once('drain', done);
  });

/** Without a prefix bytes go through as they are; with one, whole lines. */
export function lineWriter(
  stream: Writable,
  prefix: string | undefined,
): { write(bytes: Uint8Array): Promise<void>; end(): Promise<void> } {
  if (prefix === undefined)
    return { write: (bytes) => written(stream, bytes), end: () => Promise.resolve() };
  const newline = 0x0a;
  let rest = Buffer.alloc(0);
  const head = Buffer.from(prefix);
  return {
    write: async (bytes) => {
      rest = Buffer.concat([rest, bytes]);
      for (let at = rest.indexOf(newline); at >= 0; at = rest.indexOf(newline)) {
        await written(stream, Buffer.concat([head, rest.subarray(0, at + 1)]));
        rest = rest.subarray(at + 1);
      }
    },
    end: async () => {
      if (rest.length > 0) await written(stream, Buffer.concat([head, rest, Buffer.from('\n')]));
      rest = Buffer.alloc(0);
    },
  };
}

function passSignals(
  shell: Shell,
  ssi: Ssi,
  pid: number,
  options: ForegroundOptions,
  detach: () => void,
): { stop(): void } {
  if (!options.passSignals) return shell.io.onSignals(['SIGINT', 'SIGTERM', 'SIGHUP'], detach);
  let interrupts = 0;
  return shell.io.onSignals(passed, (name) => {
    if (name === 'SIGINT' && ++interrupts > interruptsMax) return detach();
    const number = signalNumber(name) ?? 0;
    // Its group first: what it started in the foreground gets it as from a terminal.
    void ssi.kill(-pid, number).then((reply) => {
      if (!reply.ok && reply.errno === 'ESRCH') void ssi.kill(pid, number);
    });
  });
}

/**
 * Whoever read our output is gone. A program that we started gets what it would get from a pipe of its
 * own, one that we only watch runs on.
 */
function endWithReader(
  shell: Shell,
  ssi: Ssi,
  pid: number,
  options: ForegroundOptions,
  leave: (code: number) => void,
): { stop(): void } {
  return shell.io.onReaderGone(() => {
    const told = options.passSignals ? ssi.kill(-pid, signalNumber('PIPE') ?? 0) : undefined;
    void Promise.resolve(told).then(() => leave(exitCode.brokenPipe));
  });
}

/** Raw until stopped; also restored when the process ends in any other way. */
function rawTerminal(shell: Shell, ssi: Ssi, pid: number): { stop(): void } {
  const { stdin, stdout } = shell.io;
  const resize = (): void => {
    if (stdout.rows && stdout.columns) void ssi.resize(pid, stdout.rows, stdout.columns);
  };
  const watching = shell.io.onResize(resize);
  resize();
  const restore = (): void => {
    if (stdin.isTTY) stdin.setRawMode?.(false);
  };
  if (stdin.isTTY) stdin.setRawMode?.(true);
  process.once('exit', restore);
  return {
    stop: () => {
      watching.stop();
      process.off('exit', restore);
      restore();
    },
  };
}

/** Our input to its input, as fast as its node takes it; the end of ours is the end of its. */
function feed(
  shell: Shell,
  attached: Attachment,
  tty: boolean,
  detach: () => void,
): { stop(): void } {
  const { stdin } = shell.io;
  let stopped = false;
  const onData = (chunk: Buffer | string): void => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    if (tty && bytes.includes(detachKey)) {
      detach();
      return;
    }
    stdin.pause();
    void attached.write(bytes).then((reply) => {
      if (reply.ok && !stopped) stdin.resume();
    });
  };
  const onEnd = (): void => void attached.endInput();
  stdin.on('data', onData);
  stdin.once('end', onEnd);
  return {
    stop: () => {
      stopped = true;
      stdin.off('data', onData);
      stdin.off('end', onEnd);
      stdin.pause();
    },
  };
}
