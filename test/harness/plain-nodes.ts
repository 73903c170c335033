// Nodes without namespaces or guard: each service a process of its own on a real nats-server, as
// `ssi up` runs them where it is not root. They run actors only. Verbs: start, kill, spawn.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { program } from '@ssi/cli';
import { createSsi, natsLink, type Ssi } from '@ssi/client';
import { holds } from './host-proc.ts';
import { waitUntil } from './wait-until.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const services = ['membership', 'ics-router', 'dlm', 'ipc-nameserver', 'vproc'] as const;
export type PlainProcess = (typeof services)[number] | 'host';

export interface PlainNodes {
  readonly ssi: Ssi;
  client(): Promise<Ssi>;
  /** SIGKILL of one process of a node; of its two memberships the active one. */
  kill(num: number, name: PlainProcess): Promise<void>;
  start(num: number, name: PlainProcess): void;
  /** Last lines of all logs. */
  describe(): string;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (!address || typeof address === 'string') throw new Error('no port');
  return address.port;
}

export async function startPlainNodes(count: number): Promise<PlainNodes> {
  const dir = mkdtempSync(`${tmpdir()}/ssi-plain-`);
  const cluster = `p${process.pid}`;
  const port = await freePort();
  const nats = `nats://127.0.0.1:${port}`;
  const children = new Map<string, ChildProcess>();
  const clients: Ssi[] = [];
  const logs: string[] = [];

  const launch = (
    key: string,
    command: string,
    args: string[],
    env: Record<string, string>,
  ): void => {
    const path = `${dir}/${key}.log`;
    logs.push(path);
    const log = openSync(path, 'a');
    const options = { env: { ...process.env, ...env }, stdio: ['ignore', log, log] as const };
    children.set(key, spawn(command, args, { ...options, stdio: [...options.stdio] }));
    closeSync(log);
  };
  const start = (num: number, name: PlainProcess): void => {
    const home = `${dir}/n${num}`;
    mkdirSync(`${home}/node`, { recursive: true });
    mkdirSync(`${home}/store`, { recursive: true });
    const script =
      name === 'host'
        ? `${root}test/programs/actor-host.ts`
        : program(`services/${name}/src/main.ts`);
    const key = `${num}-${name}`;
    launch(children.has(key) ? `${key}-standby` : key, process.execPath, [script], {
      SSI_CLUSTER: cluster,
      SSI_NODE: String(num),
      SSI_NAME: `n${num}`,
      SSI_NATS: nats,
      SSI_NODE_DIR: `${home}/node`,
      SSI_STATE_DIR: `${home}/store`,
      SSI_ADDRESSES: '127.0.0.1',
      SSI_SERVICES: services.join(','),
      SSI_KEY_SERVICES: 'ipc',
    });
  };
  /** Of the node's two memberships the one whose turn it is. */
  const active = (num: number): string =>
    [`${num}-membership`, `${num}-membership-standby`].find((key) => {
      const pid = children.get(key)?.pid;
      return pid !== undefined && holds(pid, `@ssi-membership-${cluster}-${num}`);
    }) ?? `${num}-membership`;
  const end = async (key: string): Promise<void> => {
    const child = children.get(key);
    children.delete(key);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
  const describe = (): string =>
    [...new Set(logs)]
      .map((path) => `${path}\n${readFileSync(path, 'utf8').split('\n').slice(-8).join('\n')}`)
      .join('\n');
  const client = async (): Promise<Ssi> => {
    const seeds = Array.from({ length: count }, (_, i) => i + 1);
    const link = await natsLink({ cluster, nats, seeds, uid: 0, waitMs: 10_000 });
    if (!link.ok) throw new Error(`${link.errno} ${link.detail}`);
    const ssi = createSsi(link.value);
    clients.push(ssi);
    return ssi;
  };

  writeFileSync(
    `${dir}/nats.conf`,
    `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${dir}/js" }\n`,
  );
  launch('nats', `${root}.tools/bin/nats-server`, ['-c', `${dir}/nats.conf`], {});
  const nums = Array.from({ length: count }, (_, i) => i + 1);
  const stop = async (): Promise<void> => {
    await Promise.all(clients.map((c) => c.close()));
    await Promise.all([...children.keys()].map(end));
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    for (const num of nums) for (const name of [...services, 'host'] as const) start(num, name);
    const ssi = await client();
    const up = async (): Promise<boolean> => {
      const nodes = await ssi.nodes();
      if (!nodes.ok) return false;
      const ready = nodes.value.filter(
        (n) => n.state === 'UP' && n.services.some((s) => s.name === 'actor'),
      );
      return ready.length === count;
    };
    await waitUntil(`${count} nodes are UP with actor hosts`, up, 60_000, describe);
    for (const num of nums) start(num, 'membership'); // which waits for its turn
    return {
      ssi,
      client,
      start,
      kill: (num, name) => end(name === 'membership' ? active(num) : `${num}-${name}`),
      describe,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
