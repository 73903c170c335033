// The Ahead port by ssi-ahead and ssi-ahead-in, one at each end of a connection that they take over: pages
// go from a program's memory to the target's tmpfs without passing through this process.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { fail, ok, type Reply } from '@ssi/contracts';
import type { BareConnection } from '@ssi/ports';
import type { Ahead, SendingAhead } from '../ports.ts';
import type { LazyPages } from './lazy-pages.linux.ts';
import { endOf } from './run-program.ts';

/** What ssi-ahead leaves for criu-shim.so, in the move's folder. */
export const rangesFile = 'ahead.ranges';

export function linuxAhead(options: {
  /** Directory of ssi-ahead and ssi-ahead-in. */
  readonly nativeDir: string;
  readonly imagesDir: string;
  readonly lazyPages: LazyPages;
}): Ahead {
  const { nativeDir, imagesDir, lazyPages } = options;
  const receiving = new Map<string, ChildProcess>();
  return {
    send: (moveId, pids, connection, postCopy) => {
      const dir = `${imagesDir}/${moveId}`;
      mkdirSync(dir, { recursive: true });
      return sending(
        start(
          `${nativeDir}/ssi-ahead`,
          [...(postCopy ? ['--post-copy'] : []), dir, ...pids.map(String)],
          connection,
        ),
        dir,
        lazyPages.settled(pids),
      );
    },
    receive: async (moveId, connection) => {
      const dir = `${imagesDir}/${moveId}`;
      // Ready before the tree is stopped.
      const lazy = lazyPages.prepare(moveId);
      const child = start(`${nativeDir}/ssi-ahead-in`, [dir], connection);
      receiving.set(moveId, child);
      // It says so when all is there that the restore needs; post-copy it goes on after that.
      const isReady = new Promise<undefined>((done) => {
        child.stdout?.once('data', () => done(undefined));
      });
      const ended = endOf(child).finally(() => receiving.delete(moveId));
      const failed = await Promise.race([isReady, ended]);
      await lazy;
      if (!failed || failed.code === 0) return ok();
      return fail('EIO', failed.err.trim() || 'ssi-ahead-in did not start');
    },
    discard: (moveId) => {
      receiving.get(moveId)?.kill('SIGKILL');
      lazyPages.discard(moveId);
    },
  };
}

/** Its standard input is our life: it ends with us. */
function start(path: string, args: readonly string[], connection: BareConnection): ChildProcess {
  const child = spawn(path, args, { stdio: ['pipe', 'pipe', 'pipe', connection.fd] });
  child.stdin?.on('error', () => {});
  connection.close();
  return child;
}

type Progress = Reply<{ bytes: number }, 'EIO'>;

/** What it says it has done, as promises; all of them end when it ends. */
function sending(child: ChildProcess, dir: string, settled: Promise<unknown>): SendingAhead {
  const steps = new Map(
    (['ready', 'sent'] as const).map((word) => [word, Promise.withResolvers<Progress>()]),
  );
  let said = '';
  const look = (): void => {
    for (const [word, { resolve }] of steps) {
      const bytes = new RegExp(`^${word} (\\d+)$`, 'm').exec(said)?.[1];
      if (bytes) resolve(ok({ bytes: Number(bytes) }));
    }
  };
  child.stdout?.on('data', (bytes: Buffer) => {
    said += bytes.toString();
    look();
  });
  const ended = endOf(child).then(({ code, err }): Progress => {
    look();
    const failure = fail('EIO', err.trim() || 'ssi-ahead ended');
    for (const { resolve } of steps.values()) resolve(failure);
    return code === 0 ? ok({ bytes: 0 }) : failure;
  });
  const step = (word: 'ready' | 'sent'): Promise<Progress> => steps.get(word)?.promise ?? ended;
  return {
    // A tree that still lacks memory of its last move cannot be stopped yet either.
    ready: settled.then(() => step('ready')),
    done: step('sent'),
    all: ended,
    rest: () => void child.stdin?.write('\n'),
    stop: () => {
      child.kill('SIGKILL');
      rmSync(`${dir}/${rangesFile}`, { force: true });
    },
  };
}
