// Critical sections under faults, on three real nodes: clients of our locks, of redlock's and of etcd's
// each increment a register of theirs. Round by round a node loses its power, is stopped past its lease, or
// is cut off, while one client of each maker is stopped inside its critical section until its lease is over.
import { type ChildProcess, fork } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startCluster, type TestCluster, waitForStates } from './cluster.ts';
import { startEtcd } from './etcd.ts';
import { nftInside } from './inside-node.ts';
import { leaseMs, type PeerName } from './lock-peers.ts';
import { auditRegisters, type RegisterAudit } from './lock-register.ts';
import { waitUntil } from './wait-until.ts';

const program = fileURLToPath(new URL('../programs/lock-client.ts', import.meta.url));
export const peerNames: readonly PeerName[] = ['ssi', 'redlock', 'etcd'];
const nums = [1, 2, 3];
const faults = ['power', 'stop', 'cut'] as const;
/** Past the lease of a node: by then it is excluded. */
const nodeFaultMs = 4_000;
const pastLeaseMs = leaseMs + 5_000;

export interface PeerResult {
  readonly peer: PeerName;
  /** Increments that the register took. */
  readonly writes: number;
  /** Critical sections of its that overlapped another, and whose write was taken. */
  readonly overlaps: number;
  /** Writes that a fence refused. */
  readonly refused: number;
  /** Clients that were stopped inside their section past their lease. */
  readonly paused: number;
  readonly killed: number;
}

class Client {
  readonly peer: PeerName;
  readonly places: object;
  #child: ChildProcess;
  inside = false;
  stopped = false;
  refused = 0;

  constructor(peer: PeerName, places: object) {
    this.peer = peer;
    this.places = places;
    this.#child = this.#start();
  }

  #start(): ChildProcess {
    const args = [this.peer, registerOf(this.peer), JSON.stringify(this.places)];
    const child = fork(program, args, { stdio: 'ignore' });
    child.on('message', (what) => {
      this.inside = what === 'in';
      if (what === 'refused') this.refused++;
    });
    return child;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
    this.stopped = signal === 'SIGSTOP';
  }

  restart(): void {
    this.signal('SIGKILL');
    this.inside = false;
    this.#child = this.#start();
  }
}

const registerOf = (peer: PeerName): string => `register:${peer}`;

export async function lockFaults(
  rounds: number,
  log: (line: string) => void = () => {},
): Promise<PeerResult[]> {
  const etcd = await startEtcd();
  let cluster: TestCluster | undefined;
  let audit: RegisterAudit | undefined;
  const clients: Client[] = [];
  const counts = new Map(peerNames.map((p) => [p, { paused: 0, killed: 0 }]));
  try {
    cluster = await startCluster();
    const up = cluster;
    const redis = up.file().redis ?? '';
    audit = await auditRegisters(redis);
    const taken = audit;
    for (const peer of peerNames)
      for (const node of nums)
        clients.push(new Client(peer, { cluster: up.name, node, redis, etcd: etcd.address }));
    /** The clients get on: nobody's lock is lost for good. */
    const goOn = async (peers: readonly PeerName[]): Promise<void> => {
      const from = peers.map((p) => taken.of(registerOf(p)).writes);
      await waitUntil(
        'each register is written again',
        () => peers.every((p, i) => taken.of(registerOf(p)).writes >= (from[i] ?? 0) + 5),
        60_000,
        async () =>
          `${JSON.stringify(result())}\n${(await up.ssi('locks', '--tree')).stdout}\n${await up.describe()}`,
      );
    };
    const result = (): PeerResult[] =>
      peerNames.map((peer) => ({
        ...{ peer, ...taken.of(registerOf(peer)), paused: 0, killed: 0 },
        ...counts.get(peer),
        refused: clients.reduce((sum, c) => sum + (c.peer === peer ? c.refused : 0), 0),
      }));

    /** Stops a client of this maker while it is between its reading and its writing. */
    const pauseInside = async (peer: PeerName): Promise<void> => {
      const client = await waitUntil(
        `a client of ${peer} in its section`,
        async () => {
          const inside = clients.find((c) => c.peer === peer && c.inside && !c.stopped);
          if (!inside) return undefined;
          inside.signal('SIGSTOP');
          // What it said just before it stopped has come by then.
          await pause(100);
          if (inside.inside) return inside;
          inside.signal('SIGCONT');
          return undefined;
        },
        60_000,
      );
      await pause(pastLeaseMs); // the fault's length
      client.signal('SIGCONT');
      const count = counts.get(peer);
      if (count) count.paused++;
    };
    let over = false;
    const pauses = peerNames.map(async (peer) => {
      do await pauseInside(peer);
      while (!over);
    });

    await goOn(peerNames);
    for (let round = 0; round < rounds; round++) {
      over = round === rounds - 1; // a pause lasts longer than a round
      const fault = faults[round % faults.length] ?? 'power';
      const victim = nums[Math.floor(round / faults.length) % nums.length] ?? 1;
      for (const peer of peerNames) {
        const client = clients.find((c) => c.peer === peer && c.inside && !c.stopped);
        if (!client) continue;
        client.restart();
        const count = counts.get(peer);
        if (count) count.killed++;
      }
      await faultOf(up, fault, victim);
      // Where a client of a maker without sessions was killed its lock is taken until its lease is over.
      await goOn(['ssi']);
      log(`round ${round + 1}, ${fault} of node ${victim}: ${JSON.stringify(result())}`);
    }
    await Promise.all(pauses);
    await goOn(peerNames);
    return result();
  } finally {
    for (const client of clients) client.signal('SIGKILL');
    audit?.stop();
    await etcd.stop();
    await cluster?.stop();
  }
}

async function faultOf(
  cluster: TestCluster,
  fault: (typeof faults)[number],
  victim: number,
): Promise<void> {
  if (fault === 'power') {
    await cluster.ssi('node', 'kill', `${victim}`);
    await waitForStates(cluster, { [victim]: 'DOWN' });
    const started = await cluster.ssi('node', 'start', `${victim}`);
    if (started.code !== 0) throw new Error(started.stderr);
  } else if (fault === 'stop') {
    const pids = processesOf(cluster, victim);
    signalAll(pids, 'SIGSTOP');
    try {
      await pause(nodeFaultMs);
    } finally {
      signalAll(pids, 'SIGCONT');
    }
  } else {
    nftInside(cluster, victim, 'add table inet cut');
    for (const hook of ['input', 'output'])
      nftInside(
        cluster,
        victim,
        `add chain inet cut ${hook} { type filter hook ${hook} priority 0; policy drop; }`,
      );
    try {
      await pause(nodeFaultMs);
    } finally {
      nftInside(cluster, victim, 'delete table inet cut');
    }
  }
  await waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' }, 60_000);
}

/** Every process of the node's pid namespace, the guard first. */
function processesOf(cluster: TestCluster, num: number): number[] {
  const guard = cluster.file().nodes.find((n) => n.num === num)?.pid ?? 0;
  const namespace = readlinkSync(`/proc/${guard}/ns/pid`);
  const inside = readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/ns/pid`) === namespace;
    } catch {
      return false; // It ended meanwhile.
    }
  });
  return [guard, ...inside.map(Number).filter((pid) => pid !== guard)];
}

function signalAll(pids: readonly number[], signal: 'SIGSTOP' | 'SIGCONT'): void {
  for (const pid of pids)
    try {
      process.kill(pid, signal);
    } catch {
      // It ended meanwhile.
    }
}

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
