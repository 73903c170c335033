// Gives credentials out and takes them back, where the cluster was started: keeps the register and the
// users of the bus, which the server reads again at a signal. A key that is struck out is cut off there
// and then. [nats-server: configuration reload]
import { randomBytes, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type ClusterFile, connect } from '@ssi/client';
import {
  type Credential,
  fail,
  findMember,
  type Principal,
  principalName,
  type Reply,
} from '@ssi/contracts';
import { isAlive, signal, until } from '../up/host.ts';
import { caCertificate, certifyBus, certifyNode, createCa, createKeys } from './certificates.ts';
import {
  createNodeKeys,
  createUserKey,
  publicKeys,
  userCredential,
  writeCredential,
  writeNodeCredentials,
} from './holder.ts';
import { authorityDir, busUsers, changeHolders, type Holder } from './register.ts';

/** Where the cluster's nats-server writes what it does. */
export const natsLog = (clusterDir: string): string => `${clusterDir}/nats.log`;
/** Included by the configuration of the cluster's nats-server. */
export const usersPath = (clusterDir: string): string => `${clusterDir}/nats/users.conf`;
/** Key and certificate of the bus, and of who takes joining nodes in. */
export const busKeyPath = (clusterDir: string): string => `${authorityDir(clusterDir)}/bus.key`;
const heartbeatKeyPath = (dir: string): string => `${authorityDir(dir)}/heartbeat.key`;
export const busCertificatePath = (dir: string): string => `${authorityDir(dir)}/bus.crt`;

/** False where the bus is somebody else's: who may what there is theirs to say. */
export const hasAuthority = (clusterDir: string): boolean => existsSync(usersPath(clusterDir));

/** What the authority knows of a cluster: its file, as far as it is written yet. */
type Cluster = Pick<ClusterFile, 'name' | 'nats' | 'network' | 'processes'> & {
  /** Before its bus is there to tell: whether other machines will join. */
  readonly isOpen?: boolean;
};

async function change(
  cluster: Cluster,
  clusterDir: string,
  edit: (holders: Holder[]) => Holder[],
): Promise<void> {
  await changeHolders(clusterDir, (holders) => {
    const next = edit(holders);
    const path = usersPath(clusterDir);
    writeFileSync(`${path}.tmp`, busUsers(cluster.name, next), { mode: 0o600 });
    renameSync(`${path}.tmp`, path);
    return next;
  });
  const server = cluster.processes.find((p) => p.name === 'nats-server');
  if (!server || !isAlive(server)) return;
  const log = natsLog(clusterDir);
  const before = statSync(log, { throwIfNoEntry: false })?.size ?? 0;
  signal(server, 'SIGHUP');
  // What is given is good, and what is taken is cut off, when this returns.
  await until(
    () => /Reloaded server configuration|Failed to reload/.test(readFrom(log, before)),
    reloadMs,
  );
}

/** It takes some milliseconds. */
const reloadMs = 2_000;

function readFrom(path: string, offset: number): string {
  try {
    return readFileSync(path).subarray(offset).toString();
  } catch {
    return '';
  }
}

const samePlace = (a: Holder, b: Holder): boolean =>
  a.node === b.node && a.service === b.service && a.name === b.name;

/** Who held a place before holds it no longer. */
const enter = (cluster: Cluster, clusterDir: string, entered: Holder[]): Promise<void> =>
  change(cluster, clusterDir, (holders) => [
    ...holders.filter((h) => !entered.some((e) => samePlace(e, h))),
    ...entered,
  ]);

function nodeHolders(
  num: number,
  keys: Readonly<Record<string, string>>,
  certificate: string,
): Holder[] {
  const serial = new X509Certificate(certificate).serialNumber;
  return Object.entries(keys).map(([service, key]) => ({ node: num, service, key, serial }));
}

/** Who looks at the cluster from a machine that joined it: nobody's user. */
const onlooker = principalName({ role: 'read', uid: 65_534, gid: 65_534 });
export const nodeUser = (num: number): string => `n${num}`;

/** A node elsewhere that has shown its public keys: its certificate, PEM, and who its person is. */
export async function admitNode(
  cluster: Cluster,
  clusterDir: string,
  q: { num: number; keys: Readonly<Record<string, string>>; publicKey: string; user: string },
): Promise<{ certificate: string; heartbeatKey: string | undefined; person: string }> {
  const certificate = await certifyNode(clusterDir, cluster.name, q.num, q.publicKey);
  await enter(cluster, clusterDir, [
    ...nodeHolders(q.num, q.keys, certificate),
    { node: 0, service: onlooker, key: q.user, name: nodeUser(q.num) },
  ]);
  return { certificate, heartbeatKey: heartbeatKeyOf(clusterDir), person: onlooker };
}

/** What the nodes prove their heartbeats to each other with. */
const heartbeatKeyOf = (clusterDir: string): string | undefined =>
  // Of a cluster that is older than these keys nobody has one, and a newcomer with one would be alone.
  readFrom(heartbeatKeyPath(clusterDir), 0) || undefined;

/** Nodes of this machine: keys, certificates and files. */
async function makeNodes(
  cluster: Cluster,
  clusterDir: string,
  nums: readonly number[],
): Promise<Holder[]> {
  const made = nums.map(async (num) => {
    const keys = createNodeKeys();
    const certificate = await certifyNode(clusterDir, cluster.name, num, keys.publicKey);
    const ca = caCertificate(clusterDir);
    const encrypt = encryptionFor(cluster);
    writeNodeCredentials(clusterDir, keys, {
      ...{ cluster: cluster.name, num, ca, certificate, encrypt },
      heartbeatKey: heartbeatKeyOf(clusterDir),
    });
    return nodeHolders(num, publicKeys(keys), certificate);
  });
  return (await Promise.all(made)).flat();
}

export const issueNode = async (cluster: Cluster, clusterDir: string, num: number): Promise<void> =>
  enter(cluster, clusterDir, await makeNodes(cluster, clusterDir, [num]));

/** Where other machines may join, what is direct is encrypted too, but between the nodes of this one. */
const encryptionFor = ({ nats, network, isOpen }: Cluster): Credential['encrypt'] =>
  isOpen || nats?.startsWith('tls:')
    ? network
      ? { machine: `${network.prefix}.` }
      : {}
    : undefined;

interface Person {
  readonly name: string;
  readonly principal: Principal;
}

function makeUser(
  cluster: Cluster,
  clusterDir: string,
  { name, principal }: Person,
): { holder: Holder; credential: Credential } {
  const { seed, key } = createUserKey();
  const service = principalName(principal);
  const credential: Credential = {
    ...{ cluster: cluster.name, node: 0, service, seed, ca: caCertificate(clusterDir) },
    ...(cluster.nats !== undefined && { nats: cluster.nats }),
    encrypt: encryptionFor(cluster),
  };
  return { holder: { node: 0, service, key, name }, credential };
}

/** The credential is its holder's from here on: it is kept nowhere else. */
export async function issueUser(
  cluster: Cluster,
  clusterDir: string,
  person: Person,
): Promise<Credential> {
  const { holder, credential } = makeUser(cluster, clusterDir, person);
  const { name } = person;
  await change(cluster, clusterDir, (holders) => [
    ...holders.filter((h) => h.node !== 0 || h.name !== name),
    holder,
  ]);
  return credential;
}

/**
 * What a cluster starts with: its authority, its nodes' credentials, and the one of who started it.
 * `isOpen`: other machines will join.
 */
export async function issueFirst(
  known: Cluster,
  clusterDir: string,
  { nodes, isOpen }: { nodes: number; isOpen: boolean },
): Promise<void> {
  const cluster = { ...known, isOpen };
  for (const folder of [authorityDir(clusterDir), dirname(usersPath(clusterDir))])
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  await createCa(clusterDir, cluster.name);
  writeFileSync(heartbeatKeyPath(clusterDir), randomBytes(32).toString('hex'), { mode: 0o600 });
  const bus = createKeys();
  writeFileSync(busKeyPath(clusterDir), bus.key, { mode: 0o600 });
  const certificate = await certifyBus(clusterDir, cluster.name, bus.publicKey);
  writeFileSync(busCertificatePath(clusterDir), certificate);
  const uid = process.getuid?.() ?? 0;
  const principal = { role: 'admin', uid, gid: process.getgid?.() ?? uid } as const;
  const admin = makeUser(cluster, clusterDir, { name: starter, principal });
  writeCredential(userCredential(clusterDir), admin.credential);
  const nums = Array.from({ length: nodes }, (_, i) => i + 1);
  await enter(cluster, clusterDir, [admin.holder, ...(await makeNodes(cluster, clusterDir, nums))]);
}

/** Name of the credential of who started the cluster. */
export const starter = 'starter';

/** Those who held something and hold it no longer. */
export async function revoke(
  cluster: Cluster,
  clusterDir: string,
  who: (holder: Holder) => boolean,
): Promise<Holder[]> {
  let found: Holder[] = [];
  await change(cluster, clusterDir, (holders) => {
    found = holders.filter(who);
    return holders.filter((h) => !who(h));
  });
  return found;
}

/**
 * A node loses its place on the bus, then its certificate, its life, and the person there. ENOENT: no
 * credential was given for it. It is DOWN as soon as the others miss its heartbeats.
 */
export async function revokeNode(
  cluster: Cluster,
  clusterDir: string,
  num: number,
): Promise<Reply<undefined>> {
  const isIts = (h: Holder): boolean =>
    h.node === num || (h.node === 0 && h.name === nodeUser(num));
  const held = await revoke(cluster, clusterDir, isIts);
  if (held.length === 0) return fail('ENOENT', `node ${num} holds no credential of this cluster`);
  const connected = await connect({ cluster: cluster.name });
  if (!connected.ok) return connected;
  const ssi = connected.value;
  try {
    const view = await ssi.view();
    if (!view.ok) return view;
    const life = findMember(view.value, num)?.incarnation.bootId;
    const serials = held.flatMap((h) => h.serial ?? []);
    return await ssi.revoke([...new Set([...serials, ...(life === undefined ? [] : [life])])]);
  } finally {
    await ssi.close();
  }
}
