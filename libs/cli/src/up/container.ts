// A cluster whose nodes are containers (compose.yaml): what each container does first. Names, secrets and
// the addresses of the bus are made once, by `init`, into the cluster's folder; a container sees of it what
// is there for it, in place of the whole.
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { type ClusterFile, clusterDir, readClusterFile } from '@ssi/client';
import { type Credential, fail, ok, type Reply } from '@ssi/contracts';
import { issueFirst, issueUser, nodeUser, usersPath } from '../security/authority.ts';
import { nodeCredentials, userCredential, writeCredential } from '../security/holder.ts';
import { writeNatsConfig, writeRedisConfig } from './bus.ts';
import { writeClusterFile } from './cluster.ts';
import { compileCache, program, projectDir, tool } from './host.ts';
import { nodeDir, serviceEnv } from './node.ts';

export const containerServices = [
  'membership',
  'ics-router',
  'dlm',
  'ipc-nameserver',
  'vproc',
] as const;
export type ContainerService = (typeof containerServices)[number];

/** Whom redis's image runs the server as. */
const redisUid = 999;

/**
 * Configurations of nats-server and redis-server, and the cluster's file. What is there already stays: the
 * containers that run go by it.
 */
export async function initContainers(name: string, nodes: number): Promise<Reply<ClusterFile>> {
  const dir = clusterDir(name);
  const found = readClusterFile(name);
  if (found.ok) return found;
  const password = randomBytes(16).toString('hex');
  const nums = Array.from({ length: nodes }, (_, i) => i + 1);
  const cluster: ClusterFile = {
    name,
    mode: 'containers',
    nats: 'nats://nats:4222',
    redis: `redis://:${password}@redis:6379`,
    pidBits: 16,
    processes: [],
    nodes: nums.map((num) => ({
      ...{ num, name: `n${num}`, address: `node${num}` },
      ...{ pid: 0, startTicks: 0 }, // of another machine, as it were: nothing here to signal
    })),
  };
  for (const part of ['nats', 'redis'])
    mkdirSync(`${dir}/${part}`, { recursive: true, mode: 0o711 });
  await issueFirst(cluster, dir, { nodes, isOpen: false });
  const health = { healthPort: 8222 };
  writeNatsConfig(`${dir}/nats/nats.conf`, {
    ...{ listen: '0.0.0.0:4222', dataDir: '/data', users: usersPath(dir), ...health },
  });
  const redis = `${dir}/redis/redis.conf`;
  writeRedisConfig(redis, { address: '*', port: 6379, password, dataDir: '/data' });
  chownSync(redis, redisUid, redisUid);
  await layOut(cluster, dir, nums);
  writeClusterFile(cluster);
  return ok(cluster);
}

/**
 * A folder for each container of `compose.yaml`, to be mounted as its cluster's folder: the cluster's file and
 * the keys of its service. A node has a person's too, who operates, for `docker compose exec`. vproc works in
 * the node's files, so the two have one folder.
 */
async function layOut(cluster: ClusterFile, dir: string, nums: readonly number[]): Promise<void> {
  const person = (name: string, role: 'read' | 'operate') =>
    issueUser(cluster, dir, { name, principal: { role, uid: 0, gid: 0 } });
  const lay = (container: string, num: number, services: string[], user?: Credential): void => {
    const folder = `${dir}/${container}`;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (user) writeCredential(userCredential(folder), user);
    for (const service of services)
      cpSync(
        `${nodeCredentials(dir, num)}/${service}.json`,
        `${nodeCredentials(folder, num)}/${service}.json`,
      );
    const text = `${JSON.stringify(cluster, null, 2)}\n`;
    writeFileSync(`${folder}/cluster.json`, text, { mode: 0o600 });
  };
  lay('otlp', 0, [], await person('collector', 'read'));
  for (const num of nums) {
    const operator = await person(nodeUser(num), 'operate');
    lay(`node${num}`, num, ['clms', 'vproc', 'actor'], operator);
    lay(`node${num}-membership`, num, ['clms']);
    lay(`node${num}-ics-router`, num, ['ics']);
    lay(`node${num}-dlm`, num, ['dlm']);
    lay(`node${num}-ipc-nameserver`, num, ['ipc']);
    // What membership keeps is shared with the node, whose caretaker goes on with it.
    for (const container of [`node${num}`, `node${num}-membership`])
      mkdirSync(`${dir}/${container}/n${num}/store`, { recursive: true, mode: 0o700 });
  }
}

/** What a container becomes: a program, its arguments and environment. */
export interface Exec {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

const membershipMain = program('services/membership/src/main.ts');

/** The node itself: the guard as pid 1. Beside it one membership process, for when that container is replaced. */
export function nodeExec(cluster: ClusterFile, num: number): Reply<Exec, 'ENOENT'> {
  const programs = programsGroup();
  if (!programs.ok) return programs;
  const dir = nodeDir(cluster.name);
  mkdirSync(dir, { recursive: true });
  // Of a former life of this node, whose programs ended with its pid 1.
  for (const entry of readdirSync(dir)) rmSync(join(dir, entry), { recursive: true, force: true });
  return ok({
    file: tool('ssi-guard'),
    args: [
      ...['--num', `${num}`, '--name', `n${num}`, '--pid-bits', `${cluster.pidBits}`],
      ...['--node-dir', dir, '--cgroup', programs.value],
      ...['--', process.execPath, membershipMain],
    ],
    env: envOf(cluster, num, programs.value, { SSI_STANDBY: 'caretaker' }),
  });
}

/**
 * A service of a node whose container is another one. vproc works on the node's own files, and runs among
 * them, with the code of this container.
 */
export function serviceExec(
  cluster: ClusterFile,
  num: number,
  service: ContainerService,
): Reply<Exec, 'ENOENT'> {
  const programs = programsGroup();
  if (!programs.ok) return programs;
  const env = envOf(cluster, num, programs.value, {
    SSI_STANDBY: 'elsewhere',
    SSI_HEALTH_FILE: `${clusterDir(cluster.name)}/health-${service}`,
  });
  const main = program(`services/${service}/src/main.ts`);
  if (service !== 'vproc')
    return ok({
      file: process.execPath,
      args: [main],
      env,
    });
  const at = '/run/ssi/code/vproc';
  const inside = (path: string): string => path.replace(projectDir, `${at}/`);
  return ok({
    file: tool('ssi-enter'),
    args: [projectDir, at, '--', inside(process.execPath), inside(main)],
    env: { ...env, NODE_COMPILE_CACHE: inside(compileCache) },
  });
}

const envOf = (
  cluster: ClusterFile,
  num: number,
  programs: string,
  more: Record<string, string>,
): NodeJS.ProcessEnv =>
  serviceEnv(cluster, clusterDir(cluster.name), num, {
    ...more,
    NODE_COMPILE_CACHE: compileCache,
    SSI_NODE_DIR: nodeDir(cluster.name),
    SSI_CGROUP: programs,
    SSI_ADDRESSES: ownAddresses().join(','),
  });

const ownAddresses = (): string[] =>
  Object.values(networkInterfaces())
    .flat()
    .flatMap((a) => (a && a.family === 'IPv4' && !a.internal ? [a.address] : []));

/** Below the group of pid 1 of the node, as Docker made it: so it ends, pauses and is limited with the container. */
function programsGroup(): Reply<string, 'ENOENT'> {
  const groups = readFileSync('/proc/1/cgroup', 'utf8');
  const isVersion2 = existsSync('/sys/fs/cgroup/cgroup.controllers');
  const path = (isVersion2 ? /^0::(.*)$/m : /^\d+:freezer:(.*)$/m).exec(groups)?.[1];
  if (path === undefined) return fail('ENOENT', 'no control group hierarchy that can freeze');
  return ok(join('/sys/fs/cgroup', isVersion2 ? '' : 'freezer', path, 'programs'));
}
