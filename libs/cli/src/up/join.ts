// Joining a real machine to a cluster: one node here, in namespaces of its own but on this machine's
// network, told by a token where the cluster's bus is.

import { createSocket } from 'node:dgram';
import { existsSync, mkdirSync } from 'node:fs';
import { type ClusterFile, clusterDir, connect, readClusterFile } from '@ssi/client';
import { fail, ok, type Reply } from '@ssi/contracts';
import { enrol } from '../security/enrolment.ts';
import {
  createNodeKeys,
  createUserKey,
  publicKeys,
  userCredential,
  writeCredential,
  writeNodeCredentials,
} from '../security/holder.ts';
import { decodeToken, type Token } from '../security/token.ts';
import { canRunNative, down, livingParts, writeClusterFile } from './cluster.ts';
import { until } from './host.ts';
import { startNode } from './node.ts';

const upDeadlineMs = 60_000;

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
  const { cluster: name } = token.value;
  const dir = clusterDir(name);
  if (existsSync(dir)) {
    const found = readClusterFile(name);
    if (found.ok && livingParts(found.value) > 0)
      return fail('EEXIST', `this machine runs a part of "${name}" already; end it with: ssi down`);
    await down(name);
  }
  options.onProgress(`asking cluster "${name}"`);
  const admitted = await admit(token.value, dir, options.num);
  if (!admitted.ok) return admitted;
  const { nats, pidBits } = admitted.value;
  const mode = canRunNative() ? ('native' as const) : ('actors' as const);
  const file: ClusterFile = { name, mode, nats, pidBits, processes: [], nodes: [] };
  mkdirSync(dir, { recursive: true, mode: 0o711 });
  writeClusterFile(file);
  const joined = await startHere(file, dir, { ...options, num: admitted.value.num });
  if (!joined.ok && process.env.SSI_DEBUG !== '1') await down(name);
  return joined;
}

/** The node itself, until the view says that it is UP. */
async function startHere(
  file: ClusterFile,
  dir: string,
  options: JoinOptions,
): Promise<Reply<ClusterFile>> {
  const { name, nats = '' } = file;
  const { SSI_CREDS: _, ...env } = process.env;
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
    options.onProgress(`node ${num} at ${address}`);
    const started = await startNode(file, dir, num, address);
    if (!started.ok) return started;
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

/**
 * What the token opens. With credentials: keys are made here, their public halves shown, and what comes
 * back is kept; a person on this machine may look, no more. Without: the bus as the token has it.
 */
async function admit(
  token: Token,
  dir: string,
  num: number | undefined,
): Promise<Reply<{ nats: string; pidBits: 14 | 16; num?: number | undefined }>> {
  if ('nats' in token) return ok({ ...token, num });
  const keys = createNodeKeys();
  const user = createUserKey();
  const { cluster } = token;
  const reply = await enrol(token, {
    ...{ keys: publicKeys(keys), publicKey: keys.publicKey, user: user.key },
    ...(num !== undefined && { num }),
  });
  if (!reply.ok) return reply;
  const given = reply.value;
  const { nats, ca, person } = given;
  // Of what is on the other machines nothing is this one's.
  const encrypt = nats.startsWith('tls:') ? {} : undefined;
  writeNodeCredentials(dir, keys, { ...given, cluster, encrypt });
  writeCredential(userCredential(dir), {
    ...{ cluster, node: 0, service: person, seed: user.seed, nats, ca, encrypt },
  });
  return ok(given);
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
