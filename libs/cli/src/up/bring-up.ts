// From nothing to "all nodes are UP", for `ssi up` and the demo; and which local cluster a command means.
import { type ClusterFile, connect, localClusters, readClusterFile } from '@ssi/client';
import { fail, ok, type Reply } from '@ssi/contracts';
import { down, type UpOptions, up } from './cluster.ts';
import { until } from './host.ts';

/** Nodes of one machine share its cores; more than this is no use and slow. */
export const nodesMax = 16;
const upDeadlineMs = 60_000;

export async function bringUp(options: UpOptions): Promise<Reply<ClusterFile>> {
  const started = await up(options);
  if (!started.ok) return started;
  options.onProgress('waiting for the nodes to be UP');
  const ready = await waitForNodes(started.value, options.nodes, options.signal);
  const { name } = options;
  // Another may be up under its name by now.
  if (!isThere(started.value))
    return fail('ECANCELED', `cluster "${name}" was taken down meanwhile`);
  if (ready.ok) return started;
  const log = `/run/ssi/clusters/${name}/n*/*.log`;
  // What did not come up is kept for a look only where somebody asks for it.
  if (process.env.SSI_DEBUG !== '1') await down(name);
  return fail(ready.errno, `${ready.detail}; SSI_DEBUG=1 keeps it, with its logs in ${log}`);
}

function isThere({ name, nats }: ClusterFile): boolean {
  const found = readClusterFile(name);
  return found.ok && found.value.nats === nats;
}

async function waitForNodes(
  cluster: ClusterFile,
  count: number,
  signal: AbortSignal | undefined,
): Promise<Reply<undefined>> {
  const connected = await connect({ cluster: cluster.name, waitMs: upDeadlineMs });
  if (!connected.ok) return connected;
  const ssi = connected.value;
  let states = 'no node answers';
  try {
    const all = await until(
      async () => {
        const nodes = await ssi.nodes();
        if (nodes.ok) states = nodes.value.map((n) => `${n.num} ${n.state}`).join(', ');
        const isUp = nodes.ok ? nodes.value.filter((n) => n.state === 'UP' && n.answers) : [];
        return isUp.length === count || signal?.aborted === true || !isThere(cluster);
      },
      upDeadlineMs,
      30,
    );
    if (signal?.aborted) return fail('EINTR', 'interrupted');
    return all
      ? ok()
      : fail('ETIMEDOUT', `not all nodes came UP in ${upDeadlineMs / 1000} s: ${states}`);
  } finally {
    await ssi.close();
  }
}

/** ENOENT: there is none; EINVAL: several, and none was named. */
export function localClusterName(wanted: string | undefined): Reply<string, 'ENOENT' | 'EINVAL'> {
  const here = localClusters();
  if (wanted !== undefined)
    return here.includes(wanted)
      ? ok(wanted)
      : fail(
          'ENOENT',
          `no cluster "${wanted}" on this machine${here.length ? `; there is: ${here.join(', ')}` : ''}`,
        );
  const [only, ...others] = here;
  if (only === undefined)
    return fail('ENOENT', 'no cluster on this machine; start one with: ssi up');
  return others.length === 0
    ? ok(only)
    : fail('EINVAL', `several clusters run here: ${here.join(', ')}; choose: --cluster NAME`);
}

export function localCluster(wanted: string | undefined): Reply<ClusterFile> {
  const name = localClusterName(wanted);
  return name.ok ? readClusterFile(name.value) : name;
}
