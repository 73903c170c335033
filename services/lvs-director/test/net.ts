// A network of the test's own: a client, a director between, servers behind it, each in a namespace.
//   client 10.9.0.100.. --- 10.9.0.254, VIP 10.9.0.1 director 10.1.0.254 --- 10.1.0.1.. servers
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const vip = '10.9.0.1';
const program = (name: string): string =>
  fileURLToPath(new URL(`programs/${name}`, import.meta.url));
const nft = fileURLToPath(new URL('../../../.tools/bin/nft', import.meta.url));

/** Why there can be none here. */
export function whyNoNet(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  try {
    execFileSync('unshare', ['-n', nft, 'list', 'tables'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'needs namespaces and nft';
  }
}

export class Net {
  readonly #id = `lvs${randomBytes(3).toString('hex')}`;
  readonly #children: ChildProcess[] = [];
  readonly #names: string[] = [];
  #asked: ((line: string) => void)[] = [];
  #client: ChildProcess | undefined;

  static async start(servers: number): Promise<Net> {
    const net = new Net();
    for (const name of ['client', 'director']) net.#add(name);
    net.#sh('director', 'ip link add br0 type bridge', 'ip link set br0 up');
    net.#sh('director', 'ip addr add 10.1.0.254/24 dev br0', 'sysctl -qw net.ipv4.ip_forward=1');
    net.#link('client');
    net.#sh('director', 'ip addr add 10.9.0.254/24 dev client', `ip addr add ${vip}/24 dev client`);
    net.#sh('director', 'sysctl -qw net.netfilter.nf_conntrack_acct=1 || true');
    for (let n = 100; n < 140; n++) net.#sh('client', `ip addr add 10.9.0.${n}/24 dev eth0`);
    for (let n = 1; n <= servers; n++) await net.#server(n);
    return net;
  }

  /** Nodes s1, s2 … and the client on one network, as direct routing needs it; each node has the address on loopback. */
  static async flat(nodes: number): Promise<Net> {
    const net = new Net();
    for (const name of ['client', 'director']) net.#add(name);
    net.#sh('director', 'ip link add br0 type bridge', 'ip link set br0 up');
    const join = (name: string): void => {
      net.#link(name);
      net.#sh('director', `ip link set ${name} master br0`);
    };
    join('client');
    net.#sh('client', 'ip addr add 10.9.0.100/24 dev eth0');
    for (let n = 1; n <= nodes; n++) {
      const name = `s${n}`;
      net.#add(name);
      join(name);
      net.#sh(name, 'sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2');
      net.#sh(name, `ip addr add 10.9.0.${n + 10}/24 dev eth0`, `ip addr add ${vip}/32 dev lo`);
      await net.serve(name, name, 80);
    }
    return net;
  }

  async #server(n: number): Promise<void> {
    const name = `s${n}`;
    this.#add(name);
    this.#link(name);
    this.#sh('director', `ip link set ${name} master br0`);
    this.#sh(name, `ip addr add 10.1.0.${n}/24 dev eth0`, 'ip route add default via 10.1.0.254');
    await this.serve(name, name, 8080);
  }

  /** A server that says `says`, in that namespace. */
  serve(where: string, says: string, port: number): Promise<void> {
    const child = spawn(
      ...this.#argv(where, ['/usr/bin/python3', program('server.py'), says, `${port}`]),
    );
    this.#children.push(child);
    return new Promise((done) => child.stdout?.once('data', () => done()));
  }

  /** One order to the client (see client.py), and its answer. */
  ask(order: string): Promise<string> {
    if (!this.#client) {
      this.#client = spawn(...this.#argv('client', ['/usr/bin/python3', program('client.py')]));
      this.#children.push(this.#client);
      createInterface({ input: this.#client.stdout as NodeJS.ReadableStream }).on('line', (line) =>
        this.#asked.shift()?.(line),
      );
    }
    return new Promise((done) => {
      this.#asked.push(done);
      this.#client?.stdin?.write(`${order}\n`);
    });
  }

  inside = (name: string, ...argv: string[]): string =>
    execFileSync('ip', ['netns', 'exec', `${this.#id}-${name}`, ...argv], { encoding: 'utf8' });

  nft = (...args: string[]): string => this.inside('director', nft, ...args);

  /** How the director's adapter reaches its namespace. */
  get adapter() {
    const inDirector = ['ip', 'netns', 'exec', `${this.#id}-director`];
    return {
      nft: [...inDirector, nft],
      conntrack: [...inDirector, 'cat', '/proc/net/nf_conntrack'],
    };
  }

  /** programs/plane.ts in the director's namespace. */
  plane(kind: 'nftables' | 'proxy'): ChildProcess {
    const argv = this.#argv('director', [process.execPath, program('plane.ts'), kind, nft]);
    const child = spawn(...argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#children.push(child);
    return child;
  }

  nftOf = (name: string): string[] => ['ip', 'netns', 'exec', `${this.#id}-${name}`, nft];

  async stop(): Promise<void> {
    for (const child of this.#children)
      if (child.exitCode === null) {
        const ended = new Promise((done) => child.once('exit', done));
        child.kill('SIGKILL');
        await ended;
      }
    for (const name of this.#names) execFileSync('ip', ['netns', 'del', name]);
  }

  #argv = (name: string, argv: string[]): [string, string[]] => [
    'ip',
    ['netns', 'exec', `${this.#id}-${name}`, ...argv],
  ];

  #add(name: string): void {
    execFileSync('ip', ['netns', 'add', `${this.#id}-${name}`]);
    this.#names.push(`${this.#id}-${name}`);
    this.#sh(name, 'ip link set lo up');
  }

  /** eth0 there, and an interface of its name at the director. */
  #link(name: string): void {
    const other = `${this.#id}-${name}`;
    this.#sh('director', `ip link add ${name} type veth peer name eth0 netns ${other}`);
    this.#sh('director', `ip link set ${name} up`);
    this.#sh(name, 'ip link set eth0 up');
  }

  #sh(name: string, ...lines: string[]): void {
    this.inside(name, 'sh', '-ec', lines.join('\n'));
  }
}
