// Where a cluster that `ssi up` started is found: one JSON file in the cluster's folder on the host,
// readable from inside its nodes too. `ssi node` and compose set the environment instead.
import { readFileSync } from 'node:fs';
import { fail, ok, type Reply } from '@ssi/contracts';
import { z } from 'zod';

export const clusterFile = z.object({
  name: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/),
  /**
   * `native`: namespaces and criu; `actors`: plain processes, actors only; `embedded`: one process;
   * `containers`: each node and each service is one (compose.yaml).
   */
  mode: z.enum(['native', 'actors', 'embedded', 'containers']),
  /** nats://user:password@host:port; unix:PATH where the cluster is embedded in one process. */
  nats: z.string().optional(),
  redis: z.string().optional(),
  pidBits: z.union([z.literal(14), z.literal(16)]),
  /** Bridge and subnet of the nodes, native only. */
  network: z.object({ bridge: z.string(), prefix: z.string() }).optional(),
  /** The cluster file system: where it lies, where it is mounted; `made`: this place was made for it. */
  cfs: z.object({ store: z.string(), mount: z.string(), made: z.boolean() }).optional(),
  /** Processes this cluster started on the host, with start times so that a reused pid is not hit. */
  processes: z.array(z.object({ name: z.string(), pid: z.int(), startTicks: z.int() })),
  nodes: z.array(
    z.object({
      num: z.int(),
      name: z.string(),
      address: z.string(),
      /** Host pid of the node's guard (or of its process when there is no guard). */
      pid: z.int(),
      startTicks: z.int(),
      cgroup: z.string().optional(),
    }),
  ),
});
export type ClusterFile = z.infer<typeof clusterFile>;

/** Root keeps clusters in /run/ssi, others in their runtime folder. */
export const clustersDir = (env: NodeJS.ProcessEnv = process.env): string => {
  if (env.SSI_RUN_DIR) return `${env.SSI_RUN_DIR}/clusters`;
  if (process.getuid?.() === 0) return '/run/ssi/clusters';
  return `${env.XDG_RUNTIME_DIR ?? `/tmp/ssi-${process.getuid?.() ?? 0}`}/ssi/clusters`;
};

export const clusterDir = (name: string, env?: NodeJS.ProcessEnv): string =>
  `${clustersDir(env)}/${name}`;

/** Where a service of a node of this machine listens for whoever may open it: root. */
export const localSocket = (clusterDir: string, num: number, service: string): string =>
  `${clusterDir}/n${num}/store/${service}.sock`;

/** ENOENT: no such cluster here; EBADMSG: the file is not what it should be. */
export function readClusterFile(
  name: string,
  env?: NodeJS.ProcessEnv,
): Reply<ClusterFile, 'ENOENT' | 'EBADMSG'> {
  const path = `${clusterDir(name, env)}/cluster.json`;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return fail('ENOENT', `no cluster "${name}" on this machine (${path}); start one with: ssi up`);
  }
  const parsed = clusterFile.safeParse(JSON.parse(text));
  return parsed.success ? ok(parsed.data) : fail('EBADMSG', `${path}: ${parsed.error.message}`);
}
