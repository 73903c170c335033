// The Spawner port by ssi-spawn (infra/native/spawn.c). One of it serves as long as this process lives: to fork
// this process itself for each program would hold up everything here for some ms.
import { type ChildProcess, spawn } from 'node:child_process';
import { type Errno, errnoNumber, fail, ok } from '@ssi/contracts';
import type { Clock } from '@ssi/ports';
import type { Spawner, SpawnRequest } from '../ports.ts';

/** Longer than ssi-spawn takes for one: it ends itself after 8 s. */
const answerMs = 9_000;
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

export interface SpawnerOptions {
  /** Path of ssi-spawn. */
  readonly spawnPath: string;
  /** The cgroups' `cgroup.procs` that a program is put in. */
  readonly cgroupProcs: readonly string[];
  readonly clock: Clock;
}

export function linuxSpawner(options: SpawnerOptions): Spawner {
  const server = new SpawnServer(options);
  return {
    run: async (request) => {
      const args = spawnArguments(request, options);
      const variables = Object.entries(request.env).map(([name, value]) => `${name}=${value}`);
      // It would end a string, and what follows be taken for an option.
      if ([...args, ...variables].some((word) => word.includes('\0')))
        return fail('EINVAL', 'a zero byte in arguments, environment or folder');
      const line = await server.ask(args, variables);
      // `PID STARTTICKS`, or `error ERRNO text`.
      const [word, second = 'EIO', ...text] = line?.split(' ') ?? [];
      if (Number(word) === request.pid) return ok({ pid: request.pid, startTicks: Number(second) });
      if (word !== 'error') return fail('EIO', 'ssi-spawn did not answer');
      return fail(spawnErrno(second), text.join(' '));
    },
  };
}

/** `ssi-spawn --serve`, started when it is needed. */
class SpawnServer {
  private readonly options: SpawnerOptions;
  private readonly waiting = new Map<string, (line: string | undefined) => void>();
  private child: ChildProcess | undefined;
  private next = 0;

  constructor(options: SpawnerOptions) {
    this.options = options;
  }

  /** undefined: it did not answer, and may have started the program. */
  ask(args: readonly string[], variables: readonly string[]): Promise<string | undefined> {
    const id = String(this.next++);
    return new Promise((done) => {
      const end = (line: string | undefined): void => {
        timer.cancel();
        this.waiting.delete(id);
        done(line);
      };
      const timer = this.options.clock.after(answerMs, () => end(undefined));
      this.waiting.set(id, end);
      this.child ??= this.start();
      this.child.stdin?.write(frame([id, String(args.length), ...args, ...variables]));
    });
  }

  private start(): ChildProcess {
    const child = spawn(this.options.spawnPath, ['--serve'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: {},
    });
    let rest = '';
    child.stdout.on('data', (bytes: Buffer) => {
      const lines = (rest + bytes.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const at = line.indexOf(' ');
        this.waiting.get(line.slice(0, at))?.(line.slice(at + 1));
      }
    });
    const gone = (): void => {
      if (this.child !== child) return;
      this.child = undefined;
      for (const end of [...this.waiting.values()]) end(undefined);
    };
    child.stdin.on('error', gone);
    child.on('error', gone);
    child.on('close', gone);
    return child;
  }
}

function frame(words: readonly string[]): Buffer {
  const body = Buffer.from(words.map((word) => `${word}\0`).join(''));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return Buffer.concat([length, body]);
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
    ...(request.privateIpc ? ['--private-ipc'] : []),
    ...('tty' in streams
      ? ['--tty', streams.tty]
      : ['--in', streams.in, '--out', streams.out, '--err', streams.err]),
    '--',
    ...request.argv,
  ];
}
