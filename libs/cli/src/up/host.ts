// This machine as `ssi up` needs it: programs of the project's own folder, processes named by pid and
// start time (a pid alone may have been reused), and commands that answer with a Reply.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fail, ok, type Reply } from '@ssi/contracts';

/** The repository (or package) this command runs from. */
export const projectDir = fileURLToPath(new URL('../../../..', import.meta.url));

/** Path of the file to run for a program's source (relative): its bundle where that is not older. */
export const { program }: { program(source: string): string } = await import(
  `${projectDir}infra/programs.mjs`
);

/** Node's cache of compiled code, of every process of this project: owned by who owns the code. */
export const compileCache = `${projectDir}.tools/compile-cache`;

/** A server program or helper that `infra/setup` made; falls back to the PATH. */
export function tool(name: string): string {
  for (const path of [`${projectDir}.tools/bin/${name}`, `${projectDir}.tools/native/${name}`])
    if (existsSync(path)) return path;
  return name;
}

export interface HostProcess {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks after boot when it started. */
  readonly startTicks: number;
}

export function startTicks(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command may hold spaces and brackets: count from behind the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
}

export const isAlive = (p: HostProcess): boolean => startTicks(p.pid) === p.startTicks;

/** Signals exactly that process; false: it is gone. */
export function signal(p: HostProcess, name: NodeJS.Signals): boolean {
  if (!isAlive(p)) return false;
  try {
    return process.kill(p.pid, name);
  } catch {
    return false;
  }
}

/** Resolves true once `condition` holds, false at the deadline. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  deadlineMs: number,
  everyMs = 10,
): Promise<boolean> {
  const end = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > end) return false;
    await new Promise((done) => setTimeout(done, everyMs));
  }
  return true;
}

/** SIGTERM, then SIGKILL after `graceMs`; resolves when the process is gone. */
export async function stopProcess(p: HostProcess, graceMs: number): Promise<void> {
  signal(p, 'SIGTERM');
  if (await until(() => !isAlive(p), graceMs)) return;
  signal(p, 'SIGKILL');
  await until(() => !isAlive(p), 5_000);
}

/** Runs a command to its end. EIO: it failed, with what it said. */
export const command = (
  file: string,
  args: readonly string[],
): Promise<Reply<string, 'EIO' | 'ENOENT'>> =>
  new Promise((done) => {
    execFile(file, [...args], { timeout: 30_000 }, (error, stdout, stderr) => {
      if (!error) return done(ok(stdout));
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (missing) return done(fail('ENOENT', `${file} is not installed; run: ssi doctor`));
      done(fail('EIO', `${file} ${args.join(' ')}: ${stderr.trim() || error.message}`));
    });
  });

/** Starts a program that outlives this command, its output appended to `logPath`. */
export function startDetached(
  file: string,
  args: readonly string[],
  options: { logPath: string; env?: NodeJS.ProcessEnv; cwd?: string },
): { child: ChildProcess; process: HostProcess | undefined } {
  const log = openSync(options.logPath, 'a');
  const child = spawn(file, [...args], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: options.cwd ?? '/',
    ...(options.env ? { env: options.env } : {}),
  });
  closeSync(log);
  child.unref();
  const ticks = child.pid === undefined ? undefined : startTicks(child.pid);
  const known =
    child.pid !== undefined && ticks !== undefined
      ? { pid: child.pid, startTicks: ticks }
      : undefined;
  return { child, process: known };
}
