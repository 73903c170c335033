// Every SSI_* variable that a program of this system reads, in one table, so that a typo is found instead
// of ignored. Values are checked by who reads them.

/** Name, without SSI_ -> what it is for. */
export const variables = {
  ADDRESSES: 'addresses of the node, with commas',
  ARGV0: 'the name by which ssi was called',
  AUTO_TIE_BREAKER: '1: of two equal halves the one with the lowest node number goes on',
  BRIDGE_NATS: 'URL of a second bus, which this node bridges to the one of the cluster',
  CFS_MOUNT: 'where the cluster file system is mounted on each node',
  CFS_STORE: 'folder of the cluster file system, which every node that may serve it reaches',
  CGROUP: 'control group of the programs of the node',
  CLUSTER: 'name of the cluster',
  CREDS: 'file with the credential to use',
  CREDS_DIR: 'folder with a credential for each service of the node',
  DEAD: 'given to the nodedown script: number of the node that is DOWN',
  DEADLOCK_WAIT:
    'ms that a lock waits before deadlocks over several resources are looked for; 0: never',
  DEBUG: '1: stack traces of bugs; a cluster that did not come up is kept',
  EMBEDDED: '1: actors only, nothing to install',
  EXPECTED_VOTES: 'a fixed number of votes for the quorum',
  FAILPOINTS: 'a test aid: where a service ends or waits',
  FENCE: 'command that makes sure that a node is off',
  FENCE_BOOT: 'given to the fence command: boot id of the node',
  FENCE_NODE: 'given to the fence command: number of the node',
  LOCK_MODE: 'given to the command of `ssi lock`: the mode that was granted',
  LOCK_MOVE_LEAD:
    'by how many calls another node must lead before a resource gets its master there; 0: never',
  LOCK_NAME: 'given to the command of `ssi lock`: the resource',
  LOCK_TOKEN: 'given to the command of `ssi lock`: the fencing token',
  LOCK_XID: 'given to the command of `ssi lock`: the transaction its locks belong to',
  LOG_DIR: "folder of the services' logs",
  LOG_LEVEL: 'debug, info, warn or error',
  NAME: 'name of the node',
  NATS: 'URL of the bus',
  NODE: 'number of the node',
  HEALTH_FILE: 'file that a service keeps young while it works, for health checks',
  KEY_SERVICES: 'key services that this node can run, with commas',
  NODEDOWN_SCRIPT: 'command that runs as the last nodedown step',
  NODE_DIR: "folder of the node's guard, streams and images",
  PID_BITS: '16 or 14: bits of a pid range',
  REDIS: 'URL of the cache',
  REPLICAS: '1 or 3: copies of the key-value store',
  RUN_DIR: 'instead of /run/ssi',
  SENT_AHEAD: 'given to criu by vproc: what was sent ahead of a dump',
  SERVICES: 'services of the node, with commas',
  STANDBY: '0: no second membership process; elsewhere, caretaker: in another container',
  STATE_DIR: 'folder on disk of what outlives a boot',
  TEST_PID_SPAN: 'a test aid: a shorter pid range',
  TRACE_SAMPLE: 'part of the ordinary traces that is kept, 0..1',
  TRANSID: 'given to the nodedown script: transid of the view',
  TWO_NODE: '1: two nodes, one of which is enough',
  WAIT_FOR_ALL: '1: the first quorum needs all nodes',
} as const;

/** A variable of the environment that is none of ours but reads like one, and which was meant. */
export interface Misspelt {
  readonly name: string;
  readonly meant: string;
}

/** At most two letters wrong, missing, too many or in each other's place. */
const typosMax = 2;

/** What looks like a typo in `env`. Other unknown SSI_* names may be somebody else's: they are left alone. */
export function misspelt(env: Readonly<Record<string, string | undefined>>): Misspelt[] {
  return Object.keys(env).flatMap((name) => {
    const short = name.startsWith('SSI_') ? name.slice(4) : undefined;
    if (short === undefined || short in variables) return [];
    const near = Object.keys(variables)
      .map((known) => ({ known, typos: distance(short, known) }))
      .filter(({ known, typos }) => typos <= Math.min(typosMax, Math.floor(known.length / 2) - 1))
      .toSorted((a, b) => a.typos - b.typos)[0];
    return near ? [{ name, meant: `SSI_${near.known}` }] : [];
  });
}

/** The first typo, in words; undefined: there is none. */
export function spellingFault(
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const [typo] = misspelt(env);
  return typo && `${typo.name}: there is no such variable; did you mean ${typo.meant}?`;
}

/** Throws for the first typo: for a service, which has nobody to ask. */
export function assertSpelling(env: Readonly<Record<string, string | undefined>>): void {
  const fault = spellingFault(env);
  if (fault) throw new Error(`EINVAL ${fault}`);
}

/** Optimal string alignment: edits, and two neighbours swapped. */
function distance(a: string, b: string): number {
  let older: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, (older[j - 2] ?? 0) + 1);
      row.push(best);
    }
    older = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
