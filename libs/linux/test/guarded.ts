// A guard in namespaces of its own for the tests, with a plain line client. Leaves nothing behind.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const native = fileURLToPath(new URL('../../../.tools/native', import.meta.url));
const v2Root = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((root) =>
  existsSync(`${root}/cgroup.procs`),
);
const v1Root = ['/sys/fs/cgroup/freezer'].find((root) => existsSync(`${root}/cgroup.procs`));

export const cgroupRoots: readonly (readonly ['v1' | 'v2', string | undefined])[] = [
  ['v2', v2Root],
  ['v1', v1Root],
];

/** Why there can be no guard here; undefined: there can. */
export function whyNoGuard(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync(`${native}/ssi-guard`)) return 'needs .tools/native/ssi-guard: run infra/setup';
  return undefined;
}

export async function until<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
  withinMs = 10_000,
): Promise<T> {
  for (const end = performance.now() + withinMs; ; ) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 2));
  }
}

let count = 0;

export class Guarded {
  readonly pid: number;
  readonly programs: string;
  readonly #cgroup: string;
  readonly #nodeDir: string;
  readonly #socket: Socket;
  readonly #replies: ((line: string) => void)[] = [];
  /** Lines that nobody asked for: `frozen T`, `thawed T`. */
  readonly told: string[] = [];

  constructor(root: string, options: readonly string[] = [], child = ['sleep', '100000']) {
    const name = `ssi-guard-test-${process.pid}-${count++}`;
    this.#cgroup = `${root}/${name}`;
    this.programs = `${this.#cgroup}/programs`;
    this.#nodeDir = `/run/${name}`;
    const args = [
      ...['--num', '3', '--name', 'n3', '--node-dir', this.#nodeDir, '--unshare'],
      ...['--cgroup', this.programs, '--services-cgroup', `${this.#cgroup}/services`],
      ...[...options, '--', ...child],
    ];
    // Standard error is inherited by pid 1 for good: a pipe would never end.
    const stdio = ['ignore', 'pipe', 'ignore'] as ('ignore' | 'pipe')[];
    this.pid = Number(execFileSync(`${native}/ssi-guard`, args, { stdio }).toString());
    this.#socket = connect(`${this.inside}/guard.sock`);
    this.#socket.on('error', () => {});
    let rest = '';
    this.#socket.on('data', (data) => {
      const lines = (rest + data.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines)
        if (/^(frozen|thawed) /.test(line)) this.told.push(line);
        else this.#replies.shift()?.(line);
    });
  }

  /** The node's own tmpfs, as seen from here. */
  get inside(): string {
    return `/proc/${this.pid}/root${this.#nodeDir}`;
  }

  ask(command: string): Promise<string> {
    return new Promise((done) => {
      this.#replies.push(done);
      this.#socket.write(`${command}\n`);
    });
  }

  /** Another connection to the same guard. */
  static client(guard: Guarded): {
    ask(line: string): Promise<string>;
    close(): void;
    flood(): Promise<void>;
  } {
    const socket = connect(`${guard.inside}/guard.sock`);
    socket.on('error', () => {});
    return {
      ask: (line) =>
        new Promise((done) => {
          socket.once('data', (data) => done(data.toString().trimEnd()));
          socket.write(`${line}\n`);
        }),
      close: () => socket.destroy(),
      /** A line without end: the guard hangs up. */
      flood: () =>
        new Promise((done) => {
          socket.once('close', () => done());
          socket.write('x'.repeat(100_000));
        }),
    };
  }

  async status(): Promise<Record<string, number>> {
    const words = (await this.ask('status')).split(' ').slice(1);
    return Object.fromEntries(
      words.map((word) => word.split('=')).map(([name, value]) => [name, Number(value)]),
    );
  }

  /** Starts a program in the node; its pid as the node sees it. */
  async start(argv: readonly string[], options: readonly string[] = []): Promise<number> {
    const args = ['--ns', String(this.pid), '--cgroup', `${this.programs}/cgroup.procs`];
    const { stdout } = await promisify(execFile)(`${native}/ssi-spawn`, [
      ...args,
      ...options,
      '--',
      ...argv,
    ]);
    return Number.parseInt(stdout, 10);
  }

  exits(): { pid: number; startTicks: number; code: number; signal: number; userUs: number }[] {
    return readFileSync(`${this.inside}/exits`, 'latin1')
      .trimEnd()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [pid = 0, startTicks = 0, code = 0, signal = 0, userUs = 0] = line
          .split(' ')
          .map(Number);
        return { pid, startTicks, code, signal, userUs };
      });
  }

  /** /proc/PID/FILE of a process of the node; undefined: no such. */
  proc(pid: number, file: string): string | undefined {
    try {
      return readFileSync(`/proc/${this.pid}/root/proc/${pid}/${file}`, 'latin1');
    } catch {
      return undefined;
    }
  }

  get ended(): boolean {
    const state = existsSync(`/proc/${this.pid}`)
      ? readFileSync(`/proc/${this.pid}/stat`, 'latin1').split(') ')[1]?.[0]
      : 'Z';
    return state === 'Z';
  }

  async stop(): Promise<void> {
    this.#socket.destroy();
    const thaw = `${this.programs}/freezer.state`;
    if (!this.ended) {
      if (existsSync(thaw))
        process.kill(this.pid, 'SIGTERM'); // frozen v1 tasks do not die of SIGKILL
      else process.kill(this.pid, 'SIGKILL');
    }
    await until('the end of the guard', () => (this.ended ? true : undefined));
    for (const path of [this.programs, `${this.#cgroup}/services`, this.#cgroup, this.#nodeDir])
      await until(`the end of ${path}`, () => (removed(path) ? true : undefined));
  }
}

function removed(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch {
    return !existsSync(path);
  }
}
