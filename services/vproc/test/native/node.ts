// A node for the adapter tests: ssi-guard in namespaces of its own on this machine, and node-driver.ts
// inside it. Names are unique to the run; `stop` leaves nothing behind.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const tools = fileURLToPath(new URL('../../../../.tools', import.meta.url));
const driver = fileURLToPath(new URL('./node-driver.ts', import.meta.url));
const cgroupRoots = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'];

/** Why native nodes cannot be tested here; undefined: they can. */
export function whyNoNodes(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const file of ['native/ssi-guard', 'native/ssi-spawn', 'bin/criu'])
    if (!existsSync(`${tools}/${file}`)) return `needs ${tools}/${file}: run infra/setup`;
  if (!cgroupRoot()) return 'needs a cgroup v2 hierarchy with cgroup.freeze, mounted writable';
  return undefined;
}

const cgroupRoot = (): string | undefined =>
  cgroupRoots.find((root) => existsSync(`${root}/cgroup.procs`));

// biome-ignore lint/suspicious/noExplicitAny: the driver's answers, as the test reads them
type Any = any;

export class TestNode {
  readonly pid: number;
  readonly socket: string;
  readonly cgroup: string;
  readonly #nodeDir: string;
  #driver: ChildProcess;
  readonly #waiting = new Map<number, { done(value: Any): void; failed(error: Error): void }>();
  #next = 0;
  readonly #lease: NodeJS.Timeout;

  private constructor(dir: string, num: number, extra: readonly string[]) {
    const name = `ssi-adapters-${process.pid}-n${num}`;
    // The same path in every node, as streams need it, but no other run's.
    this.#nodeDir = `/run/ssi-adapters-${process.pid}`;
    this.cgroup = `${cgroupRoot()}/${name}`;
    this.socket = `${dir}/n${num}.sock`;
    this.pid = Number(
      execFileSync(
        `${tools}/native/ssi-guard`,
        [
          ...['--num', String(num), '--name', `n${num}`, '--node-dir', this.#nodeDir, '--unshare'],
          ...[
            '--cgroup',
            `${this.cgroup}/programs`,
            '--services-cgroup',
            `${this.cgroup}/services`,
          ],
          ...extra,
          ...['--', 'sleep', '100000'],
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      ).toString(),
    );
    const guard = connect(`/proc/${this.pid}/root${this.#nodeDir}/guard.sock`);
    guard.on('error', () => {});
    guard.resume();
    this.#lease = setInterval(() => guard.write('lease 5000\n'), 500);
    guard.write('lease 5000\n');
    this.#driver = this.#startDriver();
  }

  static async start(dir: string, num: number, extra: readonly string[] = []): Promise<TestNode> {
    const node = new TestNode(dir, num, extra);
    await node.ask('status');
    return node;
  }

  ask(op: string, message: object = {}): Promise<Any> {
    const id = this.#next++;
    return new Promise((done, failed) => {
      this.#waiting.set(id, { done, failed });
      this.#driver.stdin?.write(`${JSON.stringify({ id, op, ...message })}\n`);
    });
  }

  /** SIGKILL of what stands for vproc, and another one. */
  async restartDriver(): Promise<void> {
    const [child] = readFileSync(
      `/proc/${this.#driver.pid}/task/${this.#driver.pid}/children`,
      'utf8',
    ).split(' ');
    const ended = new Promise((done) => this.#driver.once('close', done));
    process.kill(Number(child), 'SIGKILL');
    await ended;
    this.#driver = this.#startDriver();
    await this.ask('status');
  }

  #startDriver(): ChildProcess {
    const child = spawn(
      'nsenter',
      [
        ...['-t', String(this.pid), '-p', '-m', '-n', '-i', '-u', '--', process.execPath, driver],
        ...[this.#nodeDir, `${this.cgroup}/programs`, tools, this.socket],
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    createInterface(child.stdout as NonNullable<ChildProcess['stdout']>).on('line', (line) => {
      const { id, ok, value, detail } = JSON.parse(line);
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (ok) waiting?.done(value);
      else waiting?.failed(new Error(detail));
    });
    child.once('close', () => {
      const waiting = [...this.#waiting.values()];
      this.#waiting.clear();
      for (const { failed } of waiting) failed(new Error('the driver ended'));
    });
    return child;
  }

  async stop(): Promise<void> {
    clearInterval(this.#lease);
    const ended = new Promise((done) => this.#driver.once('close', done));
    process.kill(this.pid, 'SIGKILL');
    await ended;
    for (const dir of ['/programs', '/services', ''])
      for (let tries = 0; tries < 200 && !removed(`${this.cgroup}${dir}`); tries++)
        await new Promise((done) => setTimeout(done, 10));
    removed(this.#nodeDir);
  }
}

/** A cgroup is busy until the last of its processes is reaped. */
function removed(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch {
    return !existsSync(path);
  }
}

export const makeFolder = (): string => mkdtempSync(`${tmpdir()}/ssi-adapters-`);
export const removeFolder = (dir: string): void => rmSync(dir, { recursive: true, force: true });
