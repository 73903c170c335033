// Finding a cluster and connecting to it: by name, by environment, or the only one on this machine.
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import {
  type Credential,
  type Errno,
  fail,
  ok,
  parseCredential,
  parsePrincipal,
  type Reply,
} from '@ssi/contracts';
import {
  type ClusterFile,
  clusterDir,
  clustersDir,
  localSocket,
  readClusterFile,
} from './cluster-file.ts';
import type { Ssi } from './handle.ts';
import { isOnNode } from './own-process.ts';

export interface ConnectOptions {
  /** Name of a cluster that `ssi up` started here. Absent: SSI_NATS, then SSI_CLUSTER, then the only one. */
  readonly cluster?: string | undefined;
  readonly env?: NodeJS.ProcessEnv;
  /** How long to try to reach the bus, ms. */
  readonly waitMs?: number;
}

export interface ClusterAddress {
  readonly cluster: string;
  readonly nats: string;
  readonly seeds: readonly number[];
  readonly file?: ClusterFile;
  /** Absent: the bus's URL says who we are, or nobody asks. */
  readonly credential?: Credential;
}

const waitDefaultMs = 10_000;
/** Of the bus of an embedded cluster; its path follows. */
const unixScheme = 'unix:';
/** Name of a cluster that is only known by its bus. */
export const clusterNameDefault = 'ssi';

/** ENOENT: no such file, or not for us; EBADMSG: it is no credential. */
function readCredential(path: string): Reply<Credential, 'ENOENT' | 'EBADMSG'> {
  try {
    const found = parseCredential(readFileSync(path, 'utf8'));
    return found ? ok(found) : fail('EBADMSG', `${path} is no credential of a cluster`);
  } catch (error) {
    return fail('ENOENT', String(error));
  }
}

/** Clusters with a folder on this machine, by name. */
export function localClusters(env?: NodeJS.ProcessEnv): string[] {
  try {
    return readdirSync(clustersDir(env), { withFileTypes: true })
      .filter((e) => e.isDirectory())
      .map((e) => e.name)
      .sort();
  } catch {
    return [];
  }
}

/**
 * ENOENT: there is no such cluster; EINVAL: several, or SSI_NATS is no URL; EBADMSG: its file is
 * damaged, or names no bus.
 */
export function findCluster(
  options: ConnectOptions = {},
): Reply<ClusterAddress, 'ENOENT' | 'EINVAL' | 'EBADMSG'> {
  const env = options.env ?? process.env;
  const self = Number(env.SSI_NODE);
  const own = Number.isInteger(self) && self > 0 ? [self] : [];
  const bus = env.SSI_NATS;
  if (env.SSI_CREDS) {
    const held = readCredential(env.SSI_CREDS);
    if (!held.ok) return held;
    const { cluster } = held.value;
    const nats = bus ?? held.value.nats; // from where this is the bus may have another address
    if (options.cluster !== undefined && options.cluster !== cluster)
      return fail('EINVAL', `SSI_CREDS is of cluster "${cluster}", not of "${options.cluster}"`);
    return nats === undefined
      ? fail('EINVAL', `${env.SSI_CREDS} names no bus: set SSI_NATS`)
      : ok({ cluster, nats, seeds: own, credential: held.value });
  }
  if (bus && (options.cluster === undefined || !localClusters(env).includes(options.cluster))) {
    if (!bus.split(',').every(isBusUrl))
      return fail('EINVAL', 'SSI_NATS is not of the form nats://user:password@host:port');
    const cluster = options.cluster ?? env.SSI_CLUSTER ?? clusterNameDefault;
    return ok({ cluster, nats: bus, seeds: own });
  }
  const here = localClusters(env);
  const name = options.cluster ?? env.SSI_CLUSTER ?? (here.length === 1 ? here[0] : undefined);
  if (name === undefined)
    return here.length === 0
      ? fail('ENOENT', 'no cluster on this machine; start one with: ssi up')
      : fail('EINVAL', `several clusters run here: ${here.join(', ')}; choose: ssi --cluster NAME`);
  let file: ReturnType<typeof readClusterFile>;
  try {
    file = readClusterFile(name, env);
  } catch (error) {
    return fail('EBADMSG', `the file of cluster "${name}" is damaged: ${String(error)}; ssi down`);
  }
  if (!file.ok) {
    const others = here.length > 0 ? `; there is: ${here.join(', ')}` : '';
    return fail(file.errno, `${file.detail}${others}`);
  }
  const { nats, nodes } = file.value;
  if (nats === undefined)
    return fail(
      'EBADMSG',
      `cluster "${name}" has no bus: it did not come up; ssi down, then ssi up`,
    );
  const seeds = [...own, ...nodes.map((n) => n.num)];
  const starter = readCredential(`${clusterDir(name, env)}/user.json`);
  const found = { cluster: file.value.name, nats, seeds, file: file.value };
  return ok(starter.ok ? { ...found, credential: starter.value } : found);
}

/** ECONNREFUSED: its bus cannot be reached; EACCES: it refuses the credentials; the others as `findCluster`. */
export async function connect(options: ConnectOptions = {}): Promise<Reply<Ssi, Errno>> {
  const env = options.env ?? process.env;
  const found = findCluster(options);
  if (!found.ok) return found;
  const { cluster, nats, seeds, credential } = found.value;
  const person = credential && parsePrincipal(credential.service);
  // Loaded only here: whoever merely reads a cluster file does not pay for a bus client.
  const [{ createSsi }, { parseSample }] = await Promise.all([
    import('./ssi.ts'),
    import('@ssi/telemetry'),
  ]);
  const sample = parseSample(env.SSI_TRACE_SAMPLE);
  if (sample === undefined)
    return fail('EINVAL', `SSI_TRACE_SAMPLE=${env.SSI_TRACE_SAMPLE}: a number 0..1 is needed`);
  const otlpEndpoint = env.OTEL_EXPORTER_OTLP_ENDPOINT;
  if (nats.startsWith(unixScheme)) {
    const { unixLink } = await import('./link.unix.ts');
    const path = nats.slice(unixScheme.length);
    const embedded = await unixLink({ cluster, path, seeds, sample, otlpEndpoint });
    return embedded.ok ? ok(createSsi(embedded.value)) : embedded;
  }
  const { natsLink } = await import('./link.nats.ts');
  const link = await natsLink({
    cluster,
    nats,
    seeds,
    local: localServers(cluster, found.value.file, env),
    credential,
    serviceCredential: (node, service) => {
      const dir = env.SSI_CREDS_DIR ?? `${clusterDir(cluster, env)}/n${node}/creds`;
      const held = readCredential(`${dir}/${service}.json`);
      return held.ok ? held.value : undefined;
    },
    uid: person?.uid ?? process.getuid?.() ?? 0,
    gid: person?.gid ?? process.getgid?.() ?? 0,
    otlpEndpoint,
    sample,
    waitMs: options.waitMs ?? waitDefaultMs,
  });
  return link.ok ? ok(createSsi(link.value)) : link;
}

/**
 * Lock managers and IPC agents of nodes of this machine: a call of theirs is worth no way over the bus. Not for a
 * program of a node: a connection to its socket would keep it from moving.
 */
function localServers(cluster: string, file: ClusterFile | undefined, env: NodeJS.ProcessEnv) {
  if (isOnNode()) return [];
  return (file?.nodes ?? []).flatMap(({ num }) =>
    ['dlm', 'ipc'].flatMap((service) => {
      const path = localSocket(clusterDir(cluster, env), num, service);
      try {
        accessSync(path, constants.W_OK);
        return [{ node: num, service, path }];
      } catch {
        return []; // On another machine, or not for us.
      }
    }),
  );
}

function isBusUrl(text: string): boolean {
  try {
    return /^(nats|tls|unix):$/.test(new URL(text.trim()).protocol);
  } catch {
    return false;
  }
}
