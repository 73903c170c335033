// Three nats-servers as one: one "on" each node, that dies with it. JetStream keeps three replicas.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { waitUntil } from '../harness/wait-until.ts';

const server = fileURLToPath(new URL('../../.tools/bin/nats-server', import.meta.url));
const nums = [1, 2, 3];

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((s) => once(s, 'listening')));
  const ports = servers.map((s) => (s.address() as { port: number }).port);
  for (const s of servers) s.close();
  return ports;
}

/** Of this machine, that nodes in namespaces of their own reach too. */
function address(): string {
  const all = Object.values(networkInterfaces()).flatMap((i) => i ?? []);
  return all.find((i) => i.family === 'IPv4' && !i.internal)?.address ?? '127.0.0.1';
}

interface Ports {
  readonly client: number;
  readonly route: number;
  readonly monitor: number;
}

export class Brokers {
  readonly #dir = mkdtempSync(`${tmpdir()}/ssi-brokers-`);
  readonly #running = new Map<number, ChildProcess>();
  readonly #ports = new Map<number, Ports>();

  async start(): Promise<this> {
    const free = await freePorts(9);
    for (const num of nums) {
      const [client = 0, route = 0, monitor = 0] = free.slice(3 * num - 3);
      this.#ports.set(num, { client, route, monitor });
    }
    for (const num of nums) this.startOne(num);
    await waitUntil(
      'JetStream has a leader',
      async () => (await this.#ask(1, 'jsz'))?.meta_cluster?.leader !== undefined,
      30_000,
    );
    return this;
  }

  get url(): string {
    return nums.map((num) => `nats://${address()}:${this.#of(num).client}`).join();
  }

  startOne(num: number): void {
    const { client, route, monitor } = this.#of(num);
    const routes = nums.map((n) => `nats://127.0.0.1:${this.#of(n).route}`).join();
    const args = [
      ...['-a', '0.0.0.0', '-p', `${client}`, '-n', `${num}`, '-js', '-sd', `${this.#dir}/${num}`],
      ...['--cluster_name', 'bench', '--cluster', `nats://127.0.0.1:${route}`, '--routes', routes],
      ...['-m', `${monitor}`],
    ];
    this.#running.set(num, spawn(server, args, { stdio: 'ignore' }));
  }

  kill(num: number): void {
    this.#running.get(num)?.kill('SIGKILL');
    this.#running.delete(num);
  }

  /** Who leads the stream of the membership's key; undefined: nobody now. */
  async leader(cluster: string): Promise<number | undefined> {
    const jsz = await this.#ask([...this.#running.keys()][0] ?? 1, 'jsz?streams=1');
    for (const account of jsz?.account_details ?? [])
      for (const stream of account.stream_detail ?? [])
        if (
          stream.name.includes(cluster) &&
          stream.name.startsWith('KV_') &&
          stream.cluster?.leader
        )
          return Number(stream.cluster.leader);
    return undefined;
  }

  async stop(): Promise<void> {
    const ends = [...this.#running.values()].map((c) => once(c, 'exit'));
    for (const num of nums) this.kill(num);
    await Promise.all(ends);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #of(num: number): Ports {
    const ports = this.#ports.get(num);
    if (!ports) throw new Error(`no broker ${num}`);
    return ports;
  }

  async #ask(num: number, what: string): Promise<Jsz | undefined> {
    try {
      const reply = await fetch(`http://127.0.0.1:${this.#of(num).monitor}/${what}`);
      return (await reply.json()) as Jsz;
    } catch {
      return undefined;
    }
  }
}

interface Jsz {
  readonly meta_cluster?: { readonly leader?: string };
  readonly account_details?: readonly {
    readonly stream_detail?: readonly {
      readonly name: string;
      readonly cluster?: { readonly leader?: string };
    }[];
  }[];
}
