// The holder's side of a credential: keys are made where they are used, and only their public halves are
// shown to the authority. What comes back is kept in files that nobody else reads.
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { createUser } from '@nats-io/nkeys';
import { type Credential, clms } from '@ssi/contracts';
import { createKeys } from './certificates.ts';
import { nodeServices } from './register.ts';

/** Folder of the credentials of a node's services. */
export const nodeCredentials = (clusterDir: string, num: number): string =>
  `${clusterDir}/n${num}/creds`;

/** The credential of whoever started or joined the cluster here: what commands use that are told no other. */
export const userCredential = (clusterDir: string): string => `${clusterDir}/user.json`;

export interface UserKey {
  readonly seed: string;
  /** Public nkey. */
  readonly key: string;
}

export function createUserKey(): UserKey {
  const pair = createUser();
  return { seed: new TextDecoder().decode(pair.getSeed()), key: pair.getPublicKey() };
}

export function writeCredential(path: string, held: Credential): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(`${path}.tmp`, `${JSON.stringify(held, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

/** The keys of one node: of each service for the bus, and one of the node for its certificate. */
export interface NodeKeys {
  readonly services: Readonly<Record<string, UserKey>>;
  /** PEM. */
  readonly key: string;
  readonly publicKey: string;
}

export const createNodeKeys = (): NodeKeys => ({
  services: Object.fromEntries(nodeServices.map((service) => [service, createUserKey()])),
  ...createKeys(),
});

/** What the authority is shown. */
export const publicKeys = ({ services }: NodeKeys): Record<string, string> =>
  Object.fromEntries(Object.entries(services).map(([service, { key }]) => [service, key]));

/** `certificate`: what the authority made of the node's public key. */
export function writeNodeCredentials(
  clusterDir: string,
  keys: NodeKeys,
  q: {
    cluster: string;
    num: number;
    nats?: string | undefined;
    ca: string;
    certificate: string;
    encrypt?: Credential['encrypt'];
    heartbeatKey?: string | undefined;
  },
): void {
  for (const [service, { seed }] of Object.entries(keys.services))
    writeCredential(`${nodeCredentials(clusterDir, q.num)}/${service}.json`, {
      ...{ cluster: q.cluster, node: q.num, service, seed, ca: q.ca },
      ...(q.nats !== undefined && { nats: q.nats }),
      encrypt: q.encrypt,
      certificate: { pem: q.certificate, key: keys.key },
      ...(service === clms.name && { heartbeatKey: q.heartbeatKey }),
    });
}
