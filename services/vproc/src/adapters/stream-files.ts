// What one owner's streams are made of on disk and in the guard: FIFOs, logs, and meta.json with what no
// kernel object remembers. Names are the same on every node, so criu finds the FIFOs of a moved process.
import { chownSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { type Errno, fail, ok, type Reply, type StreamState } from '@ssi/contracts';
import { closeFd, errnoName, errnoOf, makeFifo, setNonblocking } from '@ssi/linux';
import type { StreamPaths, TtyBinding } from '../ports.ts';
import type { GuardStore } from './guard.linux.ts';

export type StreamName = StreamState['name'];

export interface Meta {
  readonly uid: number;
  readonly gid: number;
  readonly tty?: { rows: number; cols: number; path?: string };
  /** Standard input is /dev/null. */
  readonly noInput: boolean;
  /** Nothing will be appended to the input. */
  inputEnded: boolean;
  /** Where each log began on this node; absent: 0. */
  readonly bases: Partial<Record<StreamName, number>>;
  /** Output streams that nobody can write to any more. */
  readonly eof: Partial<Record<StreamName, boolean>>;
}

export const streamNames = (meta: Meta): StreamName[] =>
  meta.tty ? ['in', 'tty'] : ['in', 'out', 'err'];

/** FIFO of a stream: the program's own end, or for a terminal the pipe between master and log. */
export const fifoPath = (dir: string, meta: Meta, name: StreamName): string =>
  meta.tty ? `${dir}/${name}.pipe` : `${dir}/${name}`;
export const logPath = (dir: string, name: StreamName): string => `${dir}/${name}.log`;

export function programPaths(dir: string, meta: Meta): StreamPaths {
  if (meta.tty) return { tty: meta.tty.path ?? '' };
  return { in: meta.noInput ? '/dev/null' : `${dir}/in`, out: `${dir}/out`, err: `${dir}/err` };
}

/** How criu names the slave in the images: device and file system of it, hexadecimal. [criu(8)] */
export function ttyBinding(meta: Meta): TtyBinding | undefined {
  const path = meta.tty?.path;
  if (!path) return undefined;
  const { rdev, dev } = statSync(path);
  return { external: `tty[${rdev.toString(16)}:${dev.toString(16)}]`, path };
}

export function writeMeta(dir: string, meta: Meta): void {
  writeFileSync(`${dir}/meta.json.new`, JSON.stringify(meta));
  renameSync(`${dir}/meta.json.new`, `${dir}/meta.json`);
}

export const readMeta = (dir: string): Meta =>
  JSON.parse(readFileSync(`${dir}/meta.json`, 'utf8')) as Meta;

/** Makes folder, FIFOs and logs, has the guard open them, and writes meta.json last. */
export async function makeStreamFiles(
  dir: string,
  meta: Meta,
  guard: GuardStore,
): Promise<Reply<undefined, 'ENOSPC' | 'EIO'>> {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o755 });
    if (meta.tty) {
      const pty = await guard.openPty(meta.tty.rows, meta.tty.cols);
      if (!pty.ok) return spaceOrIo(pty);
      meta.tty.path = pty.value.path;
    }
    for (const name of streamNames(meta)) {
      const path = fifoPath(dir, meta, name);
      const made = makeFifo(path, 0o600);
      if (made < 0) return spaceOrIo(fail(errnoName(made), `mkfifo ${path}`));
      chownSync(path, meta.uid, meta.gid);
      writeFileSync(logPath(dir, name), '', { mode: 0o600 });
      const both = meta.tty !== undefined || name === 'in';
      const fifo = await guard.openFile(path, both ? 'rwn' : 'rn');
      if (!fifo.ok) return spaceOrIo(fifo);
      const log = await guard.openFile(logPath(dir, name), name === 'in' ? 'r' : 'w');
      if (!log.ok) return spaceOrIo(log);
    }
    writeMeta(dir, meta);
    return ok();
  } catch (error) {
    return spaceOrIo(fail(errnoOf(error), (error as Error).message));
  }
}

const spaceOrIo = (failure: { errno: Errno; detail: string }): Reply<never, 'ENOSPC' | 'EIO'> =>
  fail(failure.errno === 'ENOSPC' ? 'ENOSPC' : 'EIO', failure.detail);

/** One description that the guard keeps: its number there, and ours. */
export interface Held {
  readonly guardFd: number;
  readonly fd: number;
}

/** What the guard keeps of an owner, by path, each shared with this process. */
export function shareFiles(
  dir: string,
  meta: Meta,
  files: readonly { readonly fd: number; readonly path: string }[],
  guard: GuardStore,
): Reply<Map<string, Held>, 'EIO'> {
  const held = new Map<string, Held>();
  for (const { fd: guardFd, path } of files) {
    if (!path.startsWith(`${dir}/`) && path !== meta.tty?.path) continue;
    const shared = guard.share(guardFd);
    if (!shared.ok) {
      for (const { fd } of held.values()) closeFd(fd);
      return fail('EIO', shared.detail);
    }
    if (path === meta.tty?.path) setNonblocking(shared.value);
    held.set(path, { guardFd, fd: shared.value });
  }
  return ok(held);
}
