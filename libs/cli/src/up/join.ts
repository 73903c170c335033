// Joining a real machine to a cluster: one node here, in namespaces of its own but on this machine's
// network, told by a token where the cluster's bus is.

import { createSocket } from 'node:dgram';
import { existsSync, mkdirSync } from 'node:fs';
import { type ClusterFile, clusterDir, connect, readClusterFile } from '@ssi/client';
import { fail, ok, type Reply } from '@ssi/contracts';
import { z } from 'zod';
import { canRunNative, down, livingParts, writeClusterFile } from './cluster.ts';
import { until } from './host.ts';
import { startNode } from './node.ts';

const tokenBody = z.object({
  cluster: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/),
  nats: z.string(),
  pidBits: z.union([z.literal(14), z.literal(16)]),
});
type TokenBody = z.infer<typeof tokenBody>;

const prefix = 'ssi1.';
const upDeadlineMs = 60_000;

/** What `ssi join` takes. It holds the bus's credentials: whoever has it may join. */
export const encodeToken = (body: TokenBody): string =>
  prefix + Buffer.from(JSON.stringify(body)).toString('base64url');

export function decodeToken(text: string): Reply<TokenBody, 'EINVAL'> {
  const wrong = fail('EINVAL', 'not a token; get one with: ssi node token, where the cluster runs');
  if (!text.startsWith(prefix)) return wrong;
  try {
    const body = JSON.parse(Buffer.from(text.slice(prefix.length), 'base64url').toString());
    const parsed = tokenBody.safeParse(body);
    return parsed.success ? ok(parsed.data) : wrong;
  } catch {
    return wrong;
  }
}

export interface JoinOptions {
  readonly token: string;
  /** Absent: the lowest number that no node has. */
  readonly num?: number | undefined;
  /** This machine's address for the other nodes; absent: the one it reaches the bus with. */
  readonly address?: string | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (text: string) => void;
}

/** EEXIST: a part of that cluster runs here already, or the number is taken by a living node. */
export async function join(options: JoinOptions): Promise<Reply<ClusterFile>> {
  const token = decodeToken(options.token);
  if (!token.ok) return token;
  const { cluster: name, nats, pidBits } = token.value;
  const dir = clusterDir(name);
  if (existsSync(dir)) {
    const found = readClusterFile(name);
    if (found.ok && livingParts(found.value) > 0)
      return fail('EEXIST', `this machine runs a part of "${name}" already; end it with: ssi down`);
    await down(name);
  }
  options.onProgress(`asking cluster "${name}"`);
  const env = { ...process.env, SSI_NATS: nats, SSI_CLUSTER: name };
  const connected = await connect({ cluster: name, env });
  if (!connected.ok) return connected;
  const ssi = connected.value;
  try {
    const view = await ssi.view();
    if (!view.ok) return view;
    const { members } = view.value;
    const num = options.num ?? lowestFree(members.map((m) => m.num));
    const taken = members.find((m) => m.num === num && m.state !== 'DOWN');
    if (taken) return fail('EEXIST', `node ${num} is ${taken.state}; choose another with --num`);
    const address = options.address ?? (await localAddress(nats));
    const mode = canRunNative() ? ('native' as const) : ('actors' as const);
    const file: ClusterFile = { name, mode, nats, pidBits, processes: [], nodes: [] };
    mkdirSync(dir, { recursive: true, mode: 0o711 });
    writeClusterFile(file);
    options.onProgress(`node ${num} at ${address}`);
    const started = await startNode(file, dir, num, address);
    if (!started.ok) {
      await down(name);
      return started;
    }
    file.nodes.push(started.value);
    writeClusterFile(file);
    const isUp = await until(
      async () => {
        const now = await ssi.view();
        const state = now.ok && now.value.members.find((m) => m.num === num)?.state;
        return state === 'UP' || options.signal.aborted;
      },
      upDeadlineMs,
      50,
    );
    if (isUp && !options.signal.aborted) return ok(file);
    if (process.env.SSI_DEBUG !== '1') await down(name);
    return options.signal.aborted
      ? fail('EINTR', 'interrupted')
      : fail(
          'ETIMEDOUT',
          `node ${num} did not come UP; SSI_DEBUG=1 keeps its logs in ${dir}/n${num}`,
        );
  } finally {
    await ssi.close();
  }
}

function lowestFree(used: readonly number[]): number {
  let num = 1;
  while (used.includes(num)) num++;
  return num;
}

/** The address this machine would send from to reach the bus: nothing is sent to learn it. */
function localAddress(nats: string): Promise<string> {
  const { hostname, port } = new URL(nats);
  return new Promise((done) => {
    const socket = createSocket('udp4');
    const finish = (address: string) => {
      socket.close();
      done(address);
    };
    socket.once('error', () => finish('127.0.0.1'));
    socket.connect(Number(port) || 4222, hostname, () => finish(socket.address().address));
  });
}
