// What this process is to the cluster: among a node's programs its number is one of the cluster's.
import { existsSync, readdirSync } from 'node:fs';

const nodeDirs = '/run/ssi/node';

/** A guard's socket is there where a node's own programs are, and nowhere else. */
export function isOnNode(): boolean {
  try {
    return readdirSync(nodeDirs).some((name) => existsSync(`${nodeDirs}/${name}/guard.sock`));
  } catch {
    return false;
  }
}

/** Its number in the cluster; undefined: it runs beside the nodes, where numbers are the machine's own. */
export const ownPid = (): number | undefined => (isOnNode() ? process.pid : undefined);
