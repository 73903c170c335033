// The Ahead port by ssi-ahead and ssi-ahead-in, one at each end of a connection that they take over: pages
// go from a program's memory to the target's tmpfs without passing through this process.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { fail, ok, type Reply } from '@ssi/contracts';
import type { BareConnection } from '@ssi/ports';
import type { Ahead, SendingAhead } from '../ports.ts';
import type { LazyPages } from './lazy-pages.linux.ts';
import { endOf } from './spawn.linux.ts';

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
    send: (moveId, pids, connection) => {
      const dir = `${imagesDir}/${moveId}`;
      mkdirSync(dir, { recursive: true });
      return sending(
        start(`${nativeDir}/ssi-ahead`, [dir, ...pids.map(String)], connection),
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
      const { code, err } = await endOf(child);
      receiving.delete(moveId);
      await lazy;
      return code === 0 ? ok() : fail('EIO', err.trim() || 'ssi-ahead-in did not start');
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

function sending(child: ChildProcess, dir: string, settled: Promise<unknown>): SendingAhead {
  let ready: (reply: Reply<{ bytes: number }, 'EIO'>) => void = () => {};
  const isReady = new Promise<Reply<{ bytes: number }, 'EIO'>>((resolve) => {
    ready = resolve;
  });
  let said = '';
  child.stdout?.on('data', (bytes: Buffer) => {
    said += bytes.toString();
    const bytesReady = /^ready (\d+)$/m.exec(said)?.[1];
    // A tree that still lacks memory of its last move cannot be stopped yet either.
    if (bytesReady) void settled.then(() => ready(ok({ bytes: Number(bytesReady) })));
  });
  const done = endOf(child).then(({ code, err }) => {
    const bytes = /^sent (\d+)$/m.exec(said)?.[1];
    if (code === 0 && bytes) return ok({ bytes: Number(bytes) });
    const failure = fail('EIO', err.trim() || 'ssi-ahead ended');
    ready(failure);
    return failure;
  });
  return {
    ready: isReady,
    done,
    stop: () => {
      child.kill('SIGKILL');
      rmSync(`${dir}/${rangesFile}`, { force: true });
    },
  };
}
