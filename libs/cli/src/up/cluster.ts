// A whole cluster on this machine: up, down, and single nodes of it. What was started is written to
// cluster.json as it starts, so that `down` finds all of it whatever happened in between.
import { existsSync, mkdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  type ClusterFile,
  clusterDir,
  clustersDir,
  connect,
  localClusters,
  readClusterFile,
} from '@ssi/client';
import { fail, ok, type Reply } from '@ssi/contracts';
import { hasAuthority, issueFirst, issueNode, usersPath } from '../security/authority.ts';
import { readHolders } from '../security/register.ts';
import { startNats, startRedis } from './bus.ts';
import { cgroupRoot, removeCgroup } from './cgroup.ts';
import { askEmbedded, startEmbedded } from './embedded-process.ts';
import { isAlive, stopProcess, tool } from './host.ts';
import { createNetwork, hostAddress, removeNetwork } from './network.ts';
import { killNode, type NodeEntry, nodeDir, startNode, stopNode } from './node.ts';

export interface UpOptions {
  readonly name: string;
  readonly nodes: number;
  readonly pidBits: 14 | 16;
  /** All nodes in one process, which runs actors only and needs nothing of the machine. */
  readonly embedded?: boolean | undefined;
  /** Address for the bus that other machines reach; absent: this machine's own network. */
  readonly listen?: string | undefined;
  /** Use this NATS instead of starting one. */
  readonly nats?: string | undefined;
  /** Folder of the cluster file system, '' one that ends with the cluster; absent: there is none. */
  readonly cfs?: string | undefined;
  /** Given up: what was started is taken down again. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (text: string) => void;
}

export const canRunNative = (): boolean =>
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  cgroupRoot() !== undefined &&
  existsSync(tool('ssi-guard')) &&
  existsSync(tool('criu'));

export function writeClusterFile(cluster: ClusterFile): void {
  const path = `${clusterDir(cluster.name)}/cluster.json`;
  writeFileSync(`${path}.tmp`, `${JSON.stringify(cluster, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

export const livingParts = (cluster: ClusterFile): number =>
  [...cluster.processes, ...cluster.nodes].filter(isAlive).length;

/** Where each node has it: a folder of the machine, empty there. */
const cfsMount = '/cluster';

/** EEXIST: a cluster of that name is up. What a killed cluster left is removed first. EINTR: given up. */
export async function up(options: UpOptions): Promise<Reply<ClusterFile>> {
  const { name } = options;
  const dir = clusterDir(name);
  if (existsSync(dir)) {
    const found = readClusterFile(name);
    if (found.ok && livingParts(found.value) > 0)
      return fail('EEXIST', `cluster "${name}" is up already; look: ssi nodes, end it: ssi down`);
    await down(name);
  }
  const mode = options.embedded ? 'embedded' : canRunNative() ? 'native' : 'actors';
  if (options.cfs !== undefined && mode !== 'native')
    return fail('ENOSYS', 'the cluster file system needs nodes with namespaces: see ssi doctor');
  mkdirSync(dir, { recursive: true, mode: 0o711 });
  const cluster: ClusterFile = {
    name,
    mode,
    pidBits: options.pidBits,
    processes: [],
    nodes: [],
  };
  if (options.cfs !== undefined) {
    const made = !existsSync(cfsMount);
    mkdirSync(cfsMount, { recursive: true });
    cluster.cfs = { store: options.cfs || `${dir}/cfs`, mount: cfsMount, made };
  }
  const started = await (options.embedded
    ? startEmbedded(cluster, dir, options.nodes, () => writeClusterFile(cluster))
    : startParts(cluster, dir, options));
  if (started.ok) return ok(cluster);
  await down(name);
  return started;
}

/** Each part is in the file before the next is started. */
async function startParts(
  cluster: ClusterFile,
  dir: string,
  { name, nats, listen, nodes, signal, onProgress }: UpOptions,
): Promise<Reply<undefined>> {
  const parts: [string, () => Promise<Reply<unknown>>][] = [];
  let address = '127.0.0.1';
  if (cluster.mode === 'native')
    parts.push([
      'network',
      () =>
        createNetwork(name).then(
          keep((n) => {
            cluster.network = n;
            address = hostAddress(n);
          }),
        ),
    ]);
  if (nats) cluster.nats = nats;
  else
    parts.push([
      'nats-server',
      () =>
        issueFirst(cluster, dir, { nodes, isOpen: listen !== undefined })
          .then(() =>
            startNats(dir, {
              address: listen ?? address,
              users: usersPath(dir),
              isOpen: listen !== undefined,
            }),
          )
          .then(
            keep((started) => {
              cluster.nats = started.url;
              cluster.processes.push({ name: 'nats-server', ...started.process });
            }),
          ),
    ]);
  parts.push([
    'redis-server',
    () =>
      startRedis(dir, address).then(
        keep((started) => {
          cluster.redis = started.url;
          cluster.processes.push({ name: 'redis-server', ...started.process });
        }),
      ),
  ]);
  for (let num = 1; num <= nodes; num++)
    parts.push([
      `node ${num}`,
      () =>
        startNode(cluster, dir, num).then(
          keep((node) => {
            cluster.nodes.push(node);
          }),
        ),
    ]);
  writeClusterFile(cluster);
  for (const [text, start] of parts) {
    if (signal?.aborted) return fail('EINTR', 'interrupted');
    onProgress(text);
    const reply = await start();
    if (!reply.ok) return reply;
    writeClusterFile(cluster);
  }
  return ok();
}

const keep =
  <T>(use: (value: T) => void) =>
  (reply: Reply<T>): Reply<T> => {
    if (reply.ok) use(reply.value);
    return reply;
  };

const madeByCompose = fail(
  'EOPNOTSUPP',
  'its nodes are containers: docker compose up -d, stop, kill, down',
);

/** Takes everything down that the cluster's file names; nothing of it is left. EBADMSG: no readable file. */
export async function down(name: string): Promise<Reply<undefined>> {
  const found = readClusterFile(name);
  // A folder without its file: killed before it was written, and nothing was started yet.
  if (!found.ok && found.errno !== 'ENOENT') return found;
  if (found.ok && found.value.mode === 'containers') return madeByCompose;
  if (found.ok) {
    const cluster = found.value;
    if (cluster.mode !== 'embedded')
      await Promise.all(cluster.nodes.map((node) => stopNode(cluster, node)));
    await Promise.all(cluster.processes.map((p) => stopProcess(p, 2_000)));
    if (cluster.network) await removeNetwork(cluster.network);
  }
  const root = cgroupRoot();
  // A node that joined from here shares the folder with whatever else this machine runs of the cluster.
  const isWhole = found.ok && found.value.network !== undefined;
  if (root && isWhole) await removeCgroup(`${root}/ssi/${name}`);
  rmSync(clusterDir(name), { recursive: true, force: true });
  const place = found.ok ? found.value.cfs : undefined;
  // Removing it would take it from another cluster's nodes.
  const isTaken = localClusters().some((other) => {
    const file = readClusterFile(other);
    return file.ok && file.value.cfs !== undefined;
  });
  if (place?.made && !isTaken) removeEmpty(place.mount);
  // Another node of this cluster that runs here (it joined from this machine) keeps what they share.
  const group = root && `${root}/ssi/${name}`;
  if (group) removeEmpty(group);
  if (!group || !existsSync(group)) removeEmpty(nodeDir(name));
  for (const path of [`${root}/ssi`, dirname(nodeDir(name)), clustersDir(), '/run/ssi'])
    removeEmpty(path);
  return ok();
}

/** Folders that several clusters share go with the last one. */
function removeEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // Still used, or not there.
  }
}

const noNode = (cluster: ClusterFile, num: number) =>
  fail('EINVAL', `no node ${num} here; there are: ${cluster.nodes.map((n) => n.num).join(' ')}`);

type NodeReply<T> = Promise<Reply<T>>;

/** EINVAL: no such node in this cluster. */
async function withNode<T>(
  name: string,
  num: number,
  act: (cluster: ClusterFile, entry: NodeEntry) => NodeReply<T>,
): NodeReply<T> {
  const found = readClusterFile(name);
  if (!found.ok) return found;
  if (found.value.mode === 'containers') return madeByCompose;
  const entry = found.value.nodes.find((n) => n.num === num);
  return entry ? act(found.value, entry) : noNode(found.value, num);
}

export const killOneNode = (name: string, num: number): NodeReply<{ wasRunning: boolean }> =>
  withNode(name, num, async (cluster, entry) => {
    if (cluster.mode !== 'embedded') return ok({ wasRunning: await killNode(cluster, entry) });
    const killed = await askEmbedded(cluster, clusterDir(name), 'killNode', num);
    return killed.ok ? ok({ wasRunning: true }) : killed;
  });

/** It leaves the cluster first, where the cluster answers; then its programs and services end. */
export const stopOneNode = (name: string, num: number): NodeReply<undefined> =>
  withNode(name, num, async (cluster, entry) => {
    if (cluster.mode === 'embedded') return askEmbedded(cluster, clusterDir(name), 'stopNode', num);
    const ssi = await connect({ cluster: name });
    if (ssi.ok) {
      await ssi.value.shutdownNode(num);
      await ssi.value.close();
    }
    await stopNode(cluster, entry);
    return ok();
  });

/** Starts a node again, or one more. EEXIST: it runs. */
export async function startOneNode(name: string, num: number): NodeReply<undefined> {
  const found = readClusterFile(name);
  if (!found.ok) return found;
  const cluster = found.value;
  if (cluster.mode === 'containers') return madeByCompose;
  const entry = cluster.nodes.find((n) => n.num === num);
  if (cluster.mode === 'embedded')
    return entry ? askEmbedded(cluster, clusterDir(name), 'startNode', num) : noNode(cluster, num);
  if (entry && isAlive(entry)) return fail('EEXIST', `node ${num} runs already`);
  if (entry) await stopNode(cluster, entry);
  const dir = clusterDir(name);
  // A new one, or one whose credentials were taken back.
  if (hasAuthority(dir) && !readHolders(dir).some((h) => h.node === num))
    await issueNode(cluster, dir, num);
  const started = await startNode(cluster, dir, num);
  if (!started.ok) return started;
  const nodes = [...cluster.nodes.filter((n) => n.num !== num), started.value];
  const next = { ...cluster, nodes: nodes.sort((a, b) => a.num - b.num) };
  writeClusterFile(next);
  return ok();
}
