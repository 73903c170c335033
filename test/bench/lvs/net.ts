// The network of the benchmark: a client, a director, two servers, each in a namespace, all traffic through the
// director.   client 10.9.0.100 --- 10.9.0.254, VIP 10.9.0.1 director 10.1.0.254 --- 10.1.0.1, .2
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

export const vip = '10.9.0.1';

export class BenchNet {
  readonly #id = `lvb${randomBytes(3).toString('hex')}`;
  readonly #names: string[] = [];
  readonly #children: ChildProcess[] = [];

  constructor() {
    for (const name of ['client', 'director', 's1', 's2']) {
      execFileSync('ip', ['netns', 'add', `${this.#id}-${name}`]);
      this.#names.push(`${this.#id}-${name}`);
      this.run(name, 'ip', 'link', 'set', 'lo', 'up');
    }
    this.run('director', 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    this.#link('client', '10.9.0.254/24', '10.9.0.100/24');
    this.run('director', 'ip', 'addr', 'add', `${vip}/24`, 'dev', 'client');
    for (const n of [1, 2]) this.#link(`s${n}`, `10.1.${n}.254/24`, `10.1.${n}.1/24`);
  }

  #link(name: string, here: string, there: string): void {
    const peer = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', `${this.#id}-${name}`];
    this.run('director', 'ip', 'link', 'add', name, ...peer);
    this.run('director', 'ip', 'link', 'set', name, 'up');
    this.run('director', 'ip', 'addr', 'add', here, 'dev', name);
    this.run(name, 'ip', 'addr', 'add', there, 'dev', 'eth0');
    this.run(name, 'ip', 'link', 'set', 'eth0', 'up');
    this.run(name, 'ip', 'route', 'add', 'default', 'via', here.split('/')[0] ?? '');
  }

  argv = (name: string, argv: readonly string[]): string[] => [
    ...['ip', 'netns', 'exec', `${this.#id}-${name}`, ...argv],
  ];

  run(name: string, ...argv: string[]): string {
    const [program = '', ...args] = this.argv(name, argv);
    // What it says when it fails is in the error.
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  start(name: string, argv: readonly string[], options: SpawnOptions): ChildProcess {
    const [program = '', ...args] = this.argv(name, argv);
    const child = spawn(program, args, options);
    this.#children.push(child);
    return child;
  }

  async end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    // nginx's master ends its workers with this.
    child.kill('SIGTERM');
    await exited;
  }

  async stop(): Promise<void> {
    for (const child of this.#children) await this.end(child);
    for (const name of this.#names) execFileSync('ip', ['netns', 'del', name]);
  }
}

/** CPU that a process and its living children took, s. [proc(5): stat] */
export function cpuSeconds(child: ChildProcess): number {
  const own = (pid: number): number => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
    const below = children.filter(Boolean).reduce((sum, c) => sum + own(Number(c)), 0);
    return (Number(fields[11]) + Number(fields[12])) / 100 + below;
  };
  return child.pid === undefined ? 0 : own(child.pid);
}
