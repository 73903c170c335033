// The Spawner port by ssi-spawn (infra/native/spawn.c), and the way any helper program is run: to its
// end, with what it said.
import { type ChildProcess, spawn } from 'node:child_process';
import { type Errno, errnoNumber, fail, ok } from '@ssi/contracts';
import type { Spawner, SpawnRequest } from '../ports.ts';

export interface RunResult {
  /** undefined: ended by a signal, or it did not start. */
  readonly code: number | undefined;
  readonly out: string;
  readonly err: string;
}

const outputMax = 64 * 1024;

/** Runs a program to its end; never rejects. */
export function runProgram(
  path: string,
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly timeoutMs?: number;
    readonly extraFds?: readonly number[];
  } = {},
): Promise<RunResult> {
  return endOf(
    spawn(path, args, {
      stdio: ['ignore', 'pipe', 'pipe', ...(options.extraFds ?? [])],
      ...(options.env ? { env: { ...options.env } } : {}),
      ...(options.timeoutMs ? { timeout: options.timeoutMs, killSignal: 'SIGKILL' } : {}),
    }),
  );
}

/** Its output is collected from now on. */
export function endOf(child: ChildProcess): Promise<RunResult> {
  return new Promise((done) => {
    let out = '';
    let err = '';
    child.stdout?.on('data', (bytes: Buffer) => {
      if (out.length < outputMax) out += bytes.toString();
    });
    child.stderr?.on('data', (bytes: Buffer) => {
      if (err.length < outputMax) err += bytes.toString();
    });
    child.on('error', (error) => done({ code: undefined, out, err: error.message }));
    child.on('close', (code) => done({ code: code ?? undefined, out, err }));
  });
}

const spawnTimeoutMs = 8_000;
const listed = [
  'ENOENT',
  'EACCES',
  'ENOEXEC',
  'E2BIG',
  'ENOTDIR',
  'EAGAIN',
  'EPERM',
  'EINVAL',
  'EIO',
  'EEXIST',
] as const;
type SpawnErrno = (typeof listed)[number];

export function linuxSpawner(options: {
  /** Path of ssi-spawn. */
  readonly spawnPath: string;
  /** The cgroups' `cgroup.procs` that a program is put in. */
  readonly cgroupProcs: readonly string[];
}): Spawner {
  return {
    run: async (request) => {
      const result = await runProgram(options.spawnPath, spawnArguments(request, options), {
        env: request.env,
        timeoutMs: spawnTimeoutMs,
      });
      // `PID STARTTICKS`, or `error ERRNO text`.
      const [word, second = 'EIO', ...text] = result.out.trim().split(' ');
      if (result.code === 0 && Number(word) === request.pid)
        return ok({ pid: request.pid, startTicks: Number(second) });
      if (word !== 'error') return fail('EIO', result.err.trim() || 'ssi-spawn did not answer');
      return fail(spawnErrno(second), text.join(' '));
    },
  };
}

const spawnErrno = (name: string): SpawnErrno =>
  (listed as readonly string[]).includes(name as Errno) && name in errnoNumber
    ? (name as SpawnErrno)
    : 'EIO';

function spawnArguments(
  request: SpawnRequest,
  options: { readonly cgroupProcs: readonly string[] },
): string[] {
  const { streams } = request;
  return [
    ...options.cgroupProcs.flatMap((path) => ['--cgroup', path]),
    ...['--pid', String(request.pid), '--uid', String(request.uid), '--gid', String(request.gid)],
    ...['--cwd', request.cwd],
    ...(request.stopped ? ['--stopped'] : []),
    ...(request.ioUring ? ['--io-uring'] : []),
    ...('tty' in streams
      ? ['--tty', streams.tty]
      : ['--in', streams.in, '--out', streams.out, '--err', streams.err]),
    '--',
    ...request.argv,
  ];
}
