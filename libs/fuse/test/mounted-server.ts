// Starts a server in a mount namespace of its own. Its files are reached through /proc/PID/root, so that no
// mount ever shows in the namespace of the tests.
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readFileSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Why nothing can be mounted here; undefined: it can. */
export function noFuse(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return 'there is no /dev/fuse';
  }
}

export interface MountedServer {
  /** The mount, as this process reaches it. */
  readonly path: string;
  readonly child: ChildProcess;
  /** Resolves with the first line from now on, or before, that begins so. */
  line(start: string): Promise<string>;
  /** Standard output and error so far. */
  said(): string;
  /** Lines of its mount table that are FUSE. */
  mounts(): string[];
  /** Ends it by its standard input's end and SIGTERM; removes the folder. */
  stop(): Promise<void>;
}

const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const endMs = 10_000;

/** `args`: what comes with serve.ts, `TARGET` for the folder; or with another program. */
export async function startServer(
  args: readonly string[],
  program = 'serve.ts',
): Promise<MountedServer> {
  const folder = mkdtempSync(join(tmpdir(), 'ssi-fuse-'));
  const child = spawn(
    'unshare',
    [
      ...['--mount', '--propagation', 'private', process.execPath, '--no-warnings'],
      ...[script(program), ...args.map((a) => a.replace('TARGET', folder))],
    ],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  let said = '';
  const waiting = new Set<() => void>();
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  const heard = (text: Buffer) => {
    said += text;
    for (const look of [...waiting]) look();
  };
  child.stdout.on('data', heard);
  child.stderr.on('data', heard);
  const line = (start: string): Promise<string> =>
    new Promise((found, failed) => {
      const look = () => {
        const hit = said
          .split('\n')
          .slice(0, -1)
          .find((l) => l.startsWith(start));
        if (hit === undefined) return;
        waiting.delete(look);
        found(hit);
      };
      waiting.add(look);
      look();
      void exited.then(() => failed(new Error(`ended without "${start}": ${said}`)));
    });
  const server: MountedServer = {
    path: `/proc/${child.pid}/root${folder}`,
    child,
    line,
    said: () => said,
    mounts: () =>
      readFileSync(`/proc/${child.pid}/mountinfo`, 'utf8')
        .split('\n')
        .filter((l) => l.includes(folder)),
    stop: async () => {
      child.stdin.end();
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), endMs);
      await exited;
      clearTimeout(late);
      rmdirSync(folder);
    },
  };
  await line('ready');
  return server;
}
