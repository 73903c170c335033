// One node of a cluster on this machine: its control groups, the guard as pid 1 of its namespaces, its
// interface; or, without privileges, a plain supervisor process.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import type { ClusterFile } from '@ssi/client';
import { cfsKeyService, directorKey, fail, ipcKeyService, ok, type Reply } from '@ssi/contracts';
import { nodeCredentials } from '../security/holder.ts';
import { cgroupRoot, createNodeCgroup, nodeCgroup, removeCgroup } from './cgroup.ts';
import {
  type HostProcess,
  isAlive,
  program,
  signal,
  startDetached,
  startTicks,
  stopProcess,
  tool,
  until,
} from './host.ts';
import { connectNode, disconnectNode, nodeAddress } from './network.ts';

export type NodeEntry = ClusterFile['nodes'][number];
type Started = Reply<NodeEntry, 'EIO' | 'ENOENT'>;

/**
 * Where a node keeps what only it sees: a tmpfs inside its mount namespace, at the same path on every node
 * of a cluster. Each cluster has its own: removing a mount point on the host detaches what other
 * namespaces mounted there.
 */
export const nodeDir = (cluster: string): string => `/run/ssi/node/${cluster}`;

/** Variables of `ssi up` that its services get as they are, besides OpenTelemetry's. */
const handedOn = [
  ...['SSI_FAILPOINTS', 'SSI_REPLICAS', 'SSI_TRACE_SAMPLE'],
  ...['SSI_DEADLOCK_WAIT', 'SSI_LOCK_MOVE_LEAD'],
];
const serviceList = 'membership,ics-router,dlm,ipc-nameserver,vproc';
/** Where a node has a network of its own there is the cluster address too. */
const servicesOf = ({ mode, cfs }: ClusterFile): string =>
  [
    serviceList,
    ...(mode === 'native' ? ['lvs-director'] : []),
    ...(cfs ? ['cfs-metadata', 'cfs-client'] : []),
  ].join();
/** Folder of a service -> the key service that it can run. */
const keyServices: Readonly<Record<string, string>> = {
  'cfs-metadata': cfsKeyService,
  'ipc-nameserver': ipcKeyService,
  'lvs-director': directorKey,
};
const keyServicesOf = (services: string): string =>
  services
    .split(',')
    .flatMap((name) => keyServices[name] ?? [])
    .join();

/** What every service of node `num` finds in its environment. */
export function serviceEnv(
  cluster: ClusterFile,
  dir: string,
  num: number,
  more: Record<string, string>,
): NodeJS.ProcessEnv {
  const services = process.env.SSI_SERVICES ?? servicesOf(cluster);
  return {
    PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: process.env.HOME ?? '/root',
    LANG: process.env.LANG ?? 'C.UTF-8',
    SSI_CLUSTER: cluster.name,
    SSI_NODE: String(num),
    SSI_NAME: `n${num}`,
    SSI_NATS: cluster.nats ?? '',
    SSI_REDIS: cluster.redis ?? '',
    ...(cluster.cfs && { SSI_CFS_STORE: cluster.cfs.store, SSI_CFS_MOUNT: cluster.cfs.mount }),
    SSI_PID_BITS: String(cluster.pidBits),
    SSI_STATE_DIR: `${dir}/n${num}/store`,
    SSI_LOG_DIR: `${dir}/n${num}`,
    SSI_SERVICES: services,
    SSI_KEY_SERVICES: keyServicesOf(services),
    ...(existsSync(nodeCredentials(dir, num)) && { SSI_CREDS_DIR: nodeCredentials(dir, num) }),
    ...Object.fromEntries(
      Object.entries(process.env).filter(([k]) => k.startsWith('OTEL_') || handedOn.includes(k)),
    ),
    ...more,
  };
}

const supervisor = [program('libs/cli/src/main.ts'), 'node-services'];

/** `address`: of this machine, for a node that keeps the machine's network; absent: on the bridge. */
export async function startNode(
  cluster: ClusterFile,
  dir: string,
  num: number,
  address?: string,
): Promise<Started> {
  mkdirSync(`${dir}/n${num}/store`, { recursive: true, mode: 0o700 });
  return cluster.mode === 'native'
    ? startGuarded(cluster, dir, num, address)
    : startPlain(cluster, dir, num, address ?? '127.0.0.1');
}

async function startGuarded(
  cluster: ClusterFile,
  dir: string,
  num: number,
  ownAddress: string | undefined,
): Promise<Started> {
  const { network } = cluster;
  const root = cgroupRoot();
  const address = ownAddress ?? (network && nodeAddress(network, num));
  if (!address || !root)
    return fail('ENOENT', 'no control group hierarchy that can freeze; run: ssi doctor');
  const cgroup = nodeCgroup(root, cluster.name, num);
  const { programs, services } = createNodeCgroup(cgroup);
  mkdirSync(nodeDir(cluster.name), { recursive: true });
  const env = serviceEnv(cluster, dir, num, {
    SSI_NODE_DIR: nodeDir(cluster.name),
    SSI_CGROUP: programs,
    SSI_ADDRESSES: address,
  });
  const logPath = `${dir}/n${num}/guard.log`;
  const guardArgs = [
    ...['--num', String(num), '--name', `n${num}`, '--pid-bits', String(cluster.pidBits)],
    ...pidSpan(cluster.pidBits, num),
    ...['--node-dir', nodeDir(cluster.name), '--cgroup', programs, '--services-cgroup', services],
    ...(ownAddress ? ['--host-net'] : ['--unshare', '--wait-net', 'eth0']),
    ...['--', process.execPath, ...supervisor],
  ];
  const pid = await guardPid(guardArgs, env, logPath);
  if (!pid.ok) return pid;
  const ticks = startTicks(pid.value);
  if (ticks === undefined) return fail('EIO', `the guard of node ${num} ended; see ${logPath}`);
  const connected =
    ownAddress === undefined && network ? await connectNode(network, num, pid.value) : ok(address);
  if (!connected.ok) {
    await stopProcess({ pid: pid.value, startTicks: ticks }, 0);
    return connected;
  }
  return ok({ num, name: `n${num}`, address, pid: pid.value, startTicks: ticks, cgroup });
}

/**
 * A test aid: SSI_TEST_PID_SPAN=2000 leaves a node so many numbers of its range only, so that they come
 * round soon. Numbers belong to the same nodes as ever.
 */
function pidSpan(pidBits: number, num: number): string[] {
  const span = Number(process.env.SSI_TEST_PID_SPAN);
  const low = num << pidBits;
  return Number.isInteger(span) && span >= 1_000 && span < 1 << pidBits
    ? ['--pid-low', String(low), '--pid-high', String(low + span - 1)]
    : [];
}

/** The guard's outer process prints the host pid of the inner one, and ends. */
function guardPid(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  logPath: string,
): Promise<Reply<number, 'EIO' | 'ENOENT'>> {
  return new Promise((done) => {
    const log = openSync(logPath, 'a');
    const child: ChildProcess = spawn(tool('ssi-guard'), [...args], {
      detached: true,
      stdio: ['ignore', 'pipe', log],
      cwd: '/',
      env,
    });
    closeSync(log);
    let text = '';
    child.once('error', (e) => done(fail('ENOENT', `ssi-guard: ${e.message}; run: ssi doctor`)));
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk;
      const pid = /^(\d+)\n/.exec(text)?.[1];
      if (!pid) return;
      child.stdout?.destroy();
      child.unref();
      done(ok(Number(pid)));
    });
    child.once('exit', (code) => {
      if (code !== 0) done(fail('EIO', `ssi-guard ended with ${code}; see ${logPath}`));
    });
  });
}

async function startPlain(
  cluster: ClusterFile,
  dir: string,
  num: number,
  address: string,
): Promise<Started> {
  const own = `${dir}/n${num}/run`;
  mkdirSync(own, { recursive: true, mode: 0o700 });
  const env = serviceEnv(cluster, dir, num, { SSI_NODE_DIR: own, SSI_ADDRESSES: address });
  const logPath = `${dir}/n${num}/supervisor.log`;
  const { process: started } = startDetached(process.execPath, supervisor, { logPath, env });
  if (!started) return fail('EIO', `node ${num} did not start; see ${logPath}`);
  return ok({ num, name: `n${num}`, address, ...started });
}

/**
 * SIGKILL of everything in the node, at once: what a power loss looks like to the others. Off the network first: a
 * namespace that ends loses its nft rules before its addresses, and what it was to hand on it resets.
 */
export async function killNode(cluster: ClusterFile, entry: NodeEntry): Promise<boolean> {
  if (cluster.network) await disconnectNode(cluster.network, entry.num);
  const process: HostProcess = entry;
  const was = signal(process, 'SIGKILL');
  if (cluster.mode !== 'native') await killServices(cluster.name, entry.num);
  await until(() => !isAlive(process), 5_000);
  if (entry.cgroup) await removeCgroup(entry.cgroup);
  return was;
}

/** SIGTERM first: the guard ends its programs and services itself. */
export async function stopNode(cluster: ClusterFile, entry: NodeEntry): Promise<void> {
  await stopProcess(entry, 3_000);
  if (cluster.mode !== 'native') await killServices(cluster.name, entry.num);
  if (entry.cgroup) await removeCgroup(entry.cgroup);
  if (cluster.network) await disconnectNode(cluster.network, entry.num); // gone with the namespace
}

/** A plain node's processes lead sessions of their own: they are known by the node in their environment. */
async function killServices(cluster: string, num: number): Promise<void> {
  const wanted = [`SSI_CLUSTER=${cluster}`, `SSI_NODE=${num}`];
  const living = (): number[] =>
    readdirSync('/proc').flatMap((name) => {
      if (!/^\d+$/.test(name) || Number(name) === process.pid) return [];
      try {
        const command = readFileSync(`/proc/${name}/cmdline`, 'latin1');
        const environ = readFileSync(`/proc/${name}/environ`, 'latin1').split('\0');
        const isOurs = /\/services\/[a-z-]+\/src\/main\.ts|node-services/.test(command);
        return isOurs && wanted.every((v) => environ.includes(v)) ? [Number(name)] : [];
      } catch {
        return []; // It ended, or is somebody else's.
      }
    });
  await until(() => {
    const pids = living();
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself meanwhile.
      }
    }
    return pids.length === 0;
  }, 5_000);
}
