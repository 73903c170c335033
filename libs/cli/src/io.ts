// What a command touches of the world: its streams, its environment, signals, and a way to a cluster.
// Tests hand in another one and read what was written.
import type { Readable, Writable } from 'node:stream';
import type { Ssi } from '@ssi/client';
import type { Reply } from '@ssi/contracts';

export interface Io {
  readonly stdin: Readable & { isTTY?: boolean; setRawMode?: (raw: boolean) => unknown };
  readonly stdout: Writable & { isTTY?: boolean; columns?: number; rows?: number };
  readonly stderr: Writable & { isTTY?: boolean };
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  connect(options: { cluster?: string | undefined }): Promise<Reply<Ssi>>;
  /** Calls back on these signals instead of what they do by default, until stopped. */
  onSignals(names: readonly NodeJS.Signals[], fn: (name: NodeJS.Signals) => void): { stop(): void };
  /** Calls back when nobody reads our standard output any more; nobody listens: the process ends. */
  onReaderGone(fn: () => void): { stop(): void };
  /** Calls back when the terminal's size changed. */
  onResize(fn: () => void): { stop(): void };
}

/** `readerGone` is what happens when no command has asked to be told. */
export function processIo(readerGone: () => void): Io {
  const watchers = new Set<() => void>();
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    if (watchers.size === 0) readerGone();
    for (const fn of [...watchers]) fn();
  });
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    connect: async (options) => (await import('@ssi/client')).connect(options),
    onSignals: (names, fn) => {
      for (const name of names) process.on(name, fn);
      return {
        stop: () => {
          for (const name of names) process.off(name, fn);
        },
      };
    },
    onReaderGone: (fn) => {
      watchers.add(fn);
      return { stop: () => void watchers.delete(fn) };
    },
    onResize: (fn) => {
      process.stdout.on('resize', fn);
      return { stop: () => void process.stdout.off('resize', fn) };
    },
  };
}
