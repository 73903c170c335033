// The register of a cluster's credentials, kept where the cluster was started: which public key is which
// endpoint. The users of the bus are written from it. Seeds are with their holders, not here.
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import {
  actor,
  type Contract,
  cfs,
  cfsClient,
  clms,
  dlm,
  ics,
  ipc,
  lvs,
  parsePrincipal,
  servicePermissions,
  userPermissions,
  vproc,
} from '@ssi/contracts';
import { z } from 'zod';
import { until } from '../up/host.ts';

const contracts: readonly Contract[] = [actor, cfs, cfsClient, clms, dlm, ics, ipc, lvs, vproc];
/** Services of a node that get a credential. */
export const nodeServices: readonly string[] = contracts.map((c) => c.name);

const holder = z.object({
  /** As in `Credential`. */
  node: z.int(),
  service: z.string(),
  /** Public nkey. */
  key: z.string(),
  /** Of a service: serial number of its node's certificate. */
  serial: z.string().optional(),
  /** Of a person: the name it was given. */
  name: z.string().optional(),
});
export type Holder = z.infer<typeof holder>;

export const authorityDir = (clusterDir: string): string => `${clusterDir}/authority`;
const registerPath = (dir: string): string => `${authorityDir(dir)}/holders.json`;

export function readHolders(clusterDir: string): Holder[] {
  try {
    return z.array(holder).parse(JSON.parse(readFileSync(registerPath(clusterDir), 'utf8')));
  } catch {
    return []; // A cluster on a bus of somebody else's.
  }
}

/** One command at a time changes the register; a lock as old as this was left by a killed one. */
const lockMaxMs = 10_000;

export async function changeHolders(
  clusterDir: string,
  change: (holders: Holder[]) => Holder[],
): Promise<void> {
  const dir = authorityDir(clusterDir);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const lock = `${dir}/lock`;
  await until(() => {
    try {
      mkdirSync(lock);
      return true;
    } catch {
      const age = Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0);
      if (age > lockMaxMs) rmSync(lock, { recursive: true, force: true });
      return false;
    }
  }, 2 * lockMaxMs);
  try {
    const path = registerPath(clusterDir);
    const next = JSON.stringify(change(readHolders(clusterDir)), null, 1);
    writeFileSync(`${path}.tmp`, next, { mode: 0o600 });
    renameSync(`${path}.tmp`, path);
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

/** The part of a nats-server's configuration that says who may what; JSON is valid there. */
export function busUsers(cluster: string, holders: readonly Holder[]): string {
  const users = holders.map(({ node, service, key }) => {
    const principal = node === 0 ? parsePrincipal(service) : undefined;
    const { publish, subscribe } = principal
      ? userPermissions(cluster, contracts, principal)
      : servicePermissions(cluster, contracts, { node, service });
    const permissions = { publish: { allow: publish }, subscribe: { allow: subscribe } };
    return { nkey: key, permissions };
  });
  return `authorization: ${JSON.stringify({ timeout: 5, users }, null, 1)}\n`;
}
