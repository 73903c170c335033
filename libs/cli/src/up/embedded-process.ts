// An embedded cluster in a process of its own, that other commands reach by its socket: starting it, and
// what is done to a single node of it.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { ClusterFile } from '@ssi/client';
import { fail, ok, type Reply } from '@ssi/contracts';
import { enterUnixDoor } from '@ssi/ics';
import type { NodeVerb } from './embedded.ts';
import { isAlive, program, startDetached, until } from './host.ts';

export const socketPath = (clusterDir: string): string => `${clusterDir}/bus.sock`;

/** EINVAL: longer than a socket's path may be. [unix(7)] */
const pathMaxBytes = 107;

/** Puts its process into `cluster` and calls `started`; resolves when its socket is there. */
export async function startEmbedded(
  cluster: ClusterFile,
  dir: string,
  nodes: number,
  started: () => void,
): Promise<Reply<undefined, 'EIO' | 'EINVAL'>> {
  const path = socketPath(dir);
  if (Buffer.byteLength(path) > pathMaxBytes)
    return fail('EINVAL', `${path} is too long for a socket: use a shorter name`);
  const logPath = `${dir}/embedded.log`;
  const { process: own } = startDetached(
    process.execPath,
    [program('libs/cli/src/main.ts'), 'embedded-nodes', String(nodes)],
    { logPath, env: { ...process.env, SSI_CLUSTER: cluster.name } },
  );
  if (!own) return fail('EIO', `the nodes did not start; see ${logPath}`);
  cluster.nats = `unix:${path}`;
  cluster.processes.push({ name: 'nodes', ...own });
  for (let num = 1; num <= nodes; num++)
    cluster.nodes.push({
      ...{ num, name: `n${num}`, address: `n${num}` },
      ...{ pid: 0, startTicks: 0 }, // no process of its own to signal
    });
  started();
  await until(() => existsSync(path) || !isAlive(own), 10_000);
  return isAlive(own) ? ok() : fail('EIO', `the nodes did not start; see ${logPath}`);
}

/** Of a node that it has. */
export async function askEmbedded(
  cluster: ClusterFile,
  dir: string,
  verb: NodeVerb,
  num: number,
): Promise<Reply<undefined, 'EHOSTUNREACH'>> {
  const self = { node: 0, service: `client_${randomBytes(8).toString('hex')}` };
  const entered = await enterUnixDoor(socketPath(dir), cluster.name, self);
  if (!entered.ok) return entered;
  try {
    await entered.value.ask(verb, num);
    return ok();
  } catch (error) {
    return fail('EHOSTUNREACH', String(error));
  } finally {
    await entered.value.transport.close();
  }
}
