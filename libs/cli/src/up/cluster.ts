// A whole cluster on this machine: up, down, and single nodes of it. What was started is written to
// cluster.json as it starts, so that `down` finds all of it whatever happened in between.
import { existsSync, mkdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { type ClusterFile, clusterDir, clustersDir, readClusterFile } from '@ssi/client';
import { type Failure, fail, ok, type Reply } from '@ssi/contracts';
import { startNats, startRedis } from './bus.ts';
import { cgroupRoot, removeCgroup } from './cgroup.ts';
import { isAlive, stopProcess, tool } from './host.ts';
import { createNetwork, hostAddress, removeNetwork } from './network.ts';
import { killNode, nodeDir, startNode, stopNode } from './node.ts';

export interface UpOptions {
  readonly name: string;
  readonly nodes: number;
  readonly pidBits: 14 | 16;
  /** Use this NATS instead of starting one. */
  readonly nats?: string | undefined;
  readonly onProgress: (text: string) => void;
}

export const canRunNative = (): boolean =>
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  cgroupRoot() !== undefined &&
  existsSync(tool('ssi-guard')) &&
  existsSync(tool('criu'));

function writeClusterFile(cluster: ClusterFile): void {
  const path = `${clusterDir(cluster.name)}/cluster.json`;
  writeFileSync(`${path}.tmp`, `${JSON.stringify(cluster, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

const livingParts = (cluster: ClusterFile): number =>
  [...cluster.processes, ...cluster.nodes].filter(isAlive).length;

/** EEXIST: a cluster of that name is up. What a killed cluster left is removed first. */
export async function up(
  options: UpOptions,
): Promise<Reply<ClusterFile, 'EEXIST' | 'EIO' | 'ENOENT' | 'EADDRINUSE' | 'EBADMSG'>> {
  const { name, onProgress } = options;
  const found = readClusterFile(name);
  if (found.ok && livingParts(found.value) > 0)
    return fail(
      'EEXIST',
      `cluster "${name}" is up already; see it with: ssi nodes, end it with: ssi down`,
    );
  if (found.ok) await down(found.value);
  const dir = clusterDir(name);
  mkdirSync(dir, { recursive: true, mode: 0o711 });
  const cluster: ClusterFile = {
    name,
    mode: canRunNative() ? 'native' : 'actors',
    pidBits: options.pidBits,
    processes: [],
    nodes: [],
  };
  const step = async <T>(text: string, work: () => Promise<Reply<T>>): Promise<T> => {
    onProgress(text);
    const reply = await work();
    if (!reply.ok) throw reply;
    return reply.value;
  };
  try {
    writeClusterFile(cluster);
    if (cluster.mode === 'native') {
      cluster.network = await step('network', () => createNetwork(name));
      writeClusterFile(cluster);
    }
    const address = cluster.network ? hostAddress(cluster.network) : '127.0.0.1';
    if (options.nats) cluster.nats = options.nats;
    else {
      const nats = await step('nats-server', () => startNats(dir, address));
      cluster.nats = nats.url;
      cluster.processes.push({ name: 'nats-server', ...nats.process });
      writeClusterFile(cluster);
    }
    const redis = await step('redis-server', () => startRedis(dir, address));
    cluster.redis = redis.url;
    cluster.processes.push({ name: 'redis-server', ...redis.process });
    writeClusterFile(cluster);
    for (let num = 1; num <= options.nodes; num++) {
      cluster.nodes.push(await step(`node ${num}`, () => startNode(cluster, dir, num)));
      writeClusterFile(cluster);
    }
    return ok(cluster);
  } catch (reason) {
    await down(cluster);
    const failure = reason as Failure<'EIO'>;
    if (failure.ok !== false) throw reason;
    return failure;
  }
}

/** Takes everything down that the file names; nothing of the cluster is left afterwards. */
export async function down(cluster: ClusterFile): Promise<void> {
  await Promise.all(cluster.nodes.map((node) => stopNode(cluster, node)));
  await Promise.all(cluster.processes.map((p) => stopProcess(p, 2_000)));
  if (cluster.network) await removeNetwork(cluster.network);
  const root = cgroupRoot();
  if (root && cluster.mode === 'native') await removeCgroup(`${root}/ssi/${cluster.name}`);
  rmSync(clusterDir(cluster.name), { recursive: true, force: true });
  // The folders that clusters share go with the last one.
  for (const path of [root && `${root}/ssi`, clustersDir(), nodeDir, '/run/ssi']) {
    try {
      if (path) rmdirSync(path);
    } catch {
      // Still used by another cluster, or not there.
    }
  }
}

/** EINVAL: no such node in this cluster. */
export async function killOneNode(
  cluster: ClusterFile,
  num: number,
): Promise<Reply<{ wasRunning: boolean }, 'EINVAL'>> {
  const entry = cluster.nodes.find((n) => n.num === num);
  if (!entry) return noSuchNode(cluster, num);
  return ok({ wasRunning: await killNode(cluster, entry) });
}

/** Starts a node again (or one more). EEXIST: it runs. */
export async function startOneNode(
  cluster: ClusterFile,
  num: number,
): Promise<Reply<ClusterFile, 'EEXIST' | 'EIO' | 'ENOENT'>> {
  const entry = cluster.nodes.find((n) => n.num === num);
  if (entry && isAlive(entry)) return fail('EEXIST', `node ${num} runs already`);
  if (entry) await stopNode(cluster, entry);
  const started = await startNode(cluster, clusterDir(cluster.name), num);
  if (!started.ok) return started;
  const nodes = [...cluster.nodes.filter((n) => n.num !== num), started.value];
  const next = { ...cluster, nodes: nodes.sort((a, b) => a.num - b.num) };
  writeClusterFile(next);
  return ok(next);
}

const noSuchNode = (cluster: ClusterFile, num: number): Failure<'EINVAL'> =>
  fail('EINVAL', `no node ${num} here; there are: ${cluster.nodes.map((n) => n.num).join(' ')}`);
