// A machine in memory: processes that count, numbers, exits, placeholders. It outlives the vproc on it,
// as a kernel does, and it can be asked what really runs. Twin of the node that the guard keeps.
import type { Clock } from '@ssi/ports';
import type { ExitRecord, ProcessRef, ScannedProcess, Ssisys } from '../ports.ts';
import { FakeStreamFiles } from './streams.fake.ts';

/** A program: each tick it writes its next number to its output, and it sums what it reads. */
export interface FakeProcess extends ProcessRef {
  ppid: number;
  pgid: number;
  sid: number;
  tids: number[];
  state: 'running' | 'stopped';
  uid: number;
  command: string;
  /** Owner of the streams it writes to; 0: none. */
  owner: number;
  /** Lines written so far: what a copy goes on from. */
  count: number;
  /** Bytes read so far. */
  read: number;
  /** It is a stand-in: the signals it got. */
  stub?: number[];
}

export interface MachineOptions {
  readonly clock: Clock;
  readonly low: number;
  readonly high: number;
  /** Time between two lines of a program, ms. */
  readonly tickMs?: number;
}

/** Signals that do not end a process here. */
const harmless = new Set([0, 17, 18, 23, 28]);

export class FakeMachine {
  readonly clock: Clock;
  readonly processes = new Map<number, FakeProcess>();
  readonly placeholders = new Set<number>();
  readonly exits: ExitRecord[] = [];
  readonly files: FakeStreamFiles;
  readonly images = new Map<string, Map<string, Uint8Array>>();
  readonly records = new Map<string, string>();
  readonly state = new Map<string, string>();
  readonly stubs = new Map<string, string>();
  /** Ends that a living parent took, in order. */
  readonly waited: { parent: number; pid: number; code: number | null; signal: string | null }[] =
    [];
  /** By operation (`criu.restore`): how often it still fails, and how. */
  readonly failing = new Map<string, number>();
  /** Signals that reached a process, in order. */
  readonly signals: { pid: number; signal: number }[] = [];
  /** Who answers what programs ask; a vproc that died answers nothing. */
  ssisys: Parameters<Ssisys['serve']>[0] | undefined;
  frozen = false;
  dead = false;
  freeBytes = 1_000_000_000;
  private readonly options: MachineOptions;
  private cursor: number;
  private ticks = 1_000;
  private readonly exitListeners = new Set<() => void>();
  private readonly frozenListeners = new Set<() => void>();

  constructor(options: MachineOptions) {
    this.options = options;
    this.clock = options.clock;
    this.cursor = options.low;
    this.files = new FakeStreamFiles();
    this.tick();
  }

  private tick(): void {
    this.clock.after(this.options.tickMs ?? 10, () => {
      if (this.dead) return;
      if (!this.frozen) for (const p of this.processes.values()) this.live(p);
      this.tick();
    });
  }
  private live(p: FakeProcess): void {
    if (p.state !== 'running' || p.owner === 0) return;
    if (this.files.isClosed(p.owner)) {
      this.exit(p.pid, null, 'SIGPIPE');
      return;
    }
    if (this.files.writeOutput(p.owner, `${p.pid} ${p.count}\n`)) p.count++;
    p.read += this.files.readInput(p.owner);
  }

  /** The power goes. */
  die(): void {
    this.dead = true;
    this.processes.clear();
  }
  freeze(frozen: boolean): void {
    this.frozen = frozen;
    for (const listener of this.frozenListeners) listener();
  }
  onFrozen(fn: () => void): () => void {
    this.frozenListeners.add(fn);
    return () => this.frozenListeners.delete(fn);
  }

  fails(op: string): boolean {
    const left = this.failing.get(op) ?? 0;
    if (left > 0) this.failing.set(op, left - 1);
    return left > 0;
  }

  /** In use as pid, tid, group or session, by a placeholder too. */
  inUse(n: number): boolean {
    if (this.placeholders.has(n)) return true;
    for (const p of this.processes.values())
      if (p.pid === n || p.pgid === n || p.sid === n || p.tids.includes(n)) return true;
    return false;
  }
  /** The next free number of the range, as the kernel's cursor goes. */
  nextNumber(): number | undefined {
    const { low, high } = this.options;
    for (let i = low; i <= high; i++) {
      this.cursor = this.cursor >= high ? low + 1 : this.cursor + 1;
      if (!this.inUse(this.cursor)) return this.cursor;
    }
    return undefined;
  }

  start(p: Pick<FakeProcess, 'pid'> & Partial<FakeProcess>): FakeProcess {
    if (this.processes.has(p.pid) || this.placeholders.has(p.pid))
      throw new Error(`${p.pid} is in use`);
    const process: FakeProcess = {
      startTicks: ++this.ticks,
      ppid: 0,
      pgid: p.pid,
      sid: p.pid,
      tids: [],
      state: 'running',
      uid: 0,
      command: 'count',
      owner: 0,
      count: 0,
      read: 0,
      ...p,
    };
    this.processes.set(p.pid, process);
    return process;
  }

  /** fork(2): the child has the parent's group, session and descriptors. */
  fork(parent: number): FakeProcess | undefined {
    const p = this.processes.get(parent);
    const pid = this.nextNumber();
    if (!p || pid === undefined) return undefined;
    const { pgid, sid, uid, command, owner } = p;
    return this.start({ pid, ppid: parent, pgid, sid, uid, command, owner });
  }
  setsid(pid: number): void {
    const p = this.processes.get(pid);
    if (p) Object.assign(p, { sid: pid, pgid: pid });
  }
  setpgid(pid: number, pgid: number): void {
    const p = this.processes.get(pid);
    if (p) p.pgid = pgid;
  }

  exit(pid: number, code: number | null, signal: string | null = null): void {
    const p = this.processes.get(pid);
    if (!p) return;
    this.remove(p);
    // A living parent takes the end itself; the guard is the parent of all others.
    if (this.processes.has(p.ppid)) {
      this.waited.push({ parent: p.ppid, pid, code, signal });
      return;
    }
    this.exits.push({
      pid,
      startTicks: p.startTicks,
      status: { pid, code, signal, rusage: { userMs: 1, systemMs: 1, maxRssBytes: 4096 } },
    });
    for (const listener of [...this.exitListeners]) listener();
  }
  private remove(p: FakeProcess): void {
    this.processes.delete(p.pid);
    for (const child of this.processes.values()) if (child.ppid === p.pid) child.ppid = 0;
  }
  onExit(fn: () => void): () => void {
    this.exitListeners.add(fn);
    return () => this.exitListeners.delete(fn);
  }

  signal(pid: number, signal: number): void {
    const p = this.processes.get(pid);
    if (!p) return;
    if (signal !== 0) this.signals.push({ pid, signal });
    if (signal === 19) p.state = 'stopped';
    else if (signal === 18) p.state = 'running';
    else if (p.stub && signal !== 9) p.stub.push(signal);
    else if (!harmless.has(signal)) this.exit(pid, null, `SIG${signal}`);
  }

  scan(): ScannedProcess[] {
    return [...this.processes.values()].sort((a, b) => a.pid - b.pid).map(toScanned);
  }
}

const toScanned = (p: FakeProcess): ScannedProcess => ({
  pid: p.pid,
  startTicks: p.startTicks,
  ppid: p.ppid,
  pgid: p.pgid,
  sid: p.sid,
  tids: [...p.tids],
  state: p.state,
  command: p.command,
  uid: p.uid,
  rssBytes: 4096,
  cpuMs: 1,
});

/** Copies of a process that execute now, over all machines: a stopped or frozen copy does not. */
export const runningCopies = (machines: Iterable<FakeMachine>, pid: number): number =>
  [...machines].filter((m) => {
    const p = m.processes.get(pid);
    return !m.dead && !m.frozen && p?.state === 'running' && !p.stub;
  }).length;
