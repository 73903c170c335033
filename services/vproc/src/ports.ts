// What only vproc touches of a machine: the guard, /proc, starts; the standard streams are in stream-store.ts,
// criu and what else a move needs in mover.ts.
// Each interface has a Linux adapter and an in-memory twin beside it in adapters/. Errors are data;
// nothing here throws or rejects but for programmer errors. Times are ms of this machine's
// CLOCK_BOOTTIME. A process is named by (pid, startTicks): a pid alone may have been used again.
import type { ExitStatus, ProcessInfo, Reply } from '@ssi/contracts';
import type { ProgramCaller } from '@ssi/ports';
import type {
  Ahead,
  Criu,
  Halter,
  Holders,
  Images,
  MoveRecords,
  Preflight,
  Stub,
} from './mover.ts';
import type { StreamPaths, StreamStore } from './stream-store.ts';

export type * from './mover.ts';
export type * from './stream-store.ts';

/** A process for certain: the pid, and its start in clock ticks since boot. [proc_pid_stat(5): 22] */
export interface ProcessRef {
  readonly pid: number;
  readonly startTicks: number;
}

/** Ends a subscription; idempotent, nothing is called after it. */
export interface Subscription {
  stop(): void;
}

// --- guard ------------------------------------------------------------------------------------

export interface GuardStatus {
  /** What is left of the lease, ms; 0: none. */
  readonly leaseMs: number;
  readonly frozen: boolean;
  /** Numbers held by placeholders. */
  readonly held: number;
}

/**
 * Client of the node's pid 1. It reconnects by itself; a command that could not be sent is EIO and did
 * not run, one whose answer was lost is ETIMEDOUT. All are idempotent but holdAny, openFile and openPty.
 */
export interface Guard {
  status(): Promise<Reply<GuardStatus, 'EIO' | 'ETIMEDOUT'>>;
  /** Calls back with the present state and on every change, with the guard's own time of it. */
  watch(onChange: (frozen: boolean, atMs: number) => void): Subscription;
  /** SIGKILL of every program of the node; answers when none is left. */
  killPrograms(): Promise<Reply<undefined, 'EIO' | 'ETIMEDOUT'>>;
  /** A placeholder takes the number, so nobody else gets it. EEXIST: in use, by a placeholder too. */
  hold(pid: number): Promise<Reply<undefined, 'EEXIST' | 'EIO' | 'ETIMEDOUT'>>;
  /** A placeholder with the next free number of the range. */
  holdAny(): Promise<Reply<number, 'EAGAIN' | 'EIO' | 'ETIMEDOUT'>>;
  /** The number is free (its placeholder reaped) when this answers ok. Not held: ok too. */
  release(pid: number): Promise<Reply<undefined, 'EIO' | 'ETIMEDOUT'>>;
  held(): Promise<Reply<readonly number[], 'EIO' | 'ETIMEDOUT'>>;
}

// --- processes --------------------------------------------------------------------------------

/** One process of the programs cgroup, as /proc tells it. */
export interface ScannedProcess extends ProcessRef {
  /** 0: the node's init, or outside the node. */
  readonly ppid: number;
  readonly pgid: number;
  readonly sid: number;
  /** Thread ids other than the pid, ascending. */
  readonly tids: readonly number[];
  /** Of the contract, never moving, frozen or exited: those are the table's. */
  readonly state: Exclude<ProcessInfo['state'], 'moving' | 'frozen' | 'exited'>;
  /** Command line with blanks between arguments; `[comm]` where it has none. */
  readonly command: string;
  readonly uid: number;
  readonly rssBytes: number;
  readonly cpuMs: number;
  /** Absent: native. */
  readonly kind?: 'actor';
}

/** The guard's line of an end. `status` is of the process, not of a thread. */
export interface ExitRecord extends ProcessRef {
  readonly status: ExitStatus;
}

export interface Processes {
  /**
   * Every process in the node's programs cgroup, ascending by pid, zombies included while they are there.
   * Not the placeholders. A process that ends while it is read is left out.
   */
  scan(): Promise<Reply<readonly ScannedProcess[], 'EIO'>>;
  /** One process, wherever in the node; undefined: no such. */
  inspect(pid: number): Promise<ScannedProcess | undefined>;
  /**
   * Every end of an orphan of the node (programs started by `Spawner` are), in order, at least once.
   * `position` is opaque: kept and given back as `from` after a restart it continues there; undefined
   * starts at the oldest still known.
   */
  followExits(
    from: string | undefined,
    onExits: (exits: readonly ExitRecord[], position: string) => void,
  ): Subscription;
  /** kill(2) with the rights of `uid` (0: all); signal 0 only asks. */
  signal(
    target: { readonly pid: number; readonly startTicks?: number },
    signal: number,
    uid: number,
  ): Promise<Reply<undefined, 'ESRCH' | 'EPERM' | 'EINVAL'>>;
}

// --- start ------------------------------------------------------------------------------------

export interface SpawnRequest {
  /**
   * The number to take: held before by `Guard.holdAny`, so that the streams' folder can carry it,
   * and released just before this. EEXIST: somebody was faster, begin again.
   */
  readonly pid: number;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
  /** What `StreamStore.create` returned. */
  readonly streams: StreamPaths;
  /** io_uring_setup(2) is left to it; else it gets ENOSYS, for what has a ring open cannot move. */
  readonly ioUring?: boolean;
  /** An IPC namespace of its own. */
  readonly privateIpc?: boolean;
  /** Left stopped by SIGSTOP before the first instruction of the new program. */
  readonly stopped?: boolean;
}

export interface Spawner {
  /**
   * Starts a program in the node's programs cgroup as child of pid 1, leader of its own session, clean
   * signals and descriptors. ok: execve succeeded.
   */
  run(
    request: SpawnRequest,
  ): Promise<
    Reply<
      ProcessRef,
      | 'ENOENT'
      | 'EACCES'
      | 'ENOEXEC'
      | 'E2BIG'
      | 'ENOTDIR'
      | 'EAGAIN'
      | 'EPERM'
      | 'EINVAL'
      | 'EIO'
      | 'EEXIST'
    >
  >;
}

// --- what else a node has ---------------------------------------------------------------------

/** Requests of the node's own programs, by who they are. [ssisys(2ssi)] */
export interface Ssisys {
  /** Answers each from now on. What is not answered when this service ends is asked again. */
  serve(
    answer: (caller: ProgramCaller, words: readonly string[]) => Promise<Reply<string>>,
  ): Subscription;
}

/**
 * Floating addresses (`run` with `addr`) on this node. Quiet: it is here, but no packet passes either way,
 * nor ARP. All but `claim` are idempotent.
 */
export interface Addresses {
  /** Those here now, quiet or not. */
  list(): readonly string[];
  /** Whether this node has an interface in its network. */
  reaches(address: string): boolean;
  /** Takes a free one: it is open here. EADDRINUSE: here already, or somebody on the link answers for it. */
  claim(address: string): Promise<Reply<undefined, 'EADDRINUSE' | 'EADDRNOTAVAIL' | 'EIO'>>;
  /** Source, before the freeze: connections that have begun are completed, no new one begins; then quiet. */
  quiet(address: string): Promise<Reply<undefined, 'EIO'>>;
  /** Target, before the restore: here, quiet. */
  hold(address: string): Promise<Reply<undefined, 'EADDRNOTAVAIL' | 'EIO'>>;
  /** Here and heard; the link is told, and the connections of `pids` go on. */
  open(address: string, pids: readonly number[]): Promise<Reply<undefined, 'EIO'>>;
  /** Not here any more; what is left of its connections ends without a word to their peers. */
  drop(address: string): Promise<Reply<undefined, 'EIO'>>;
}

/** All of a node's machine that vproc uses, as `createVproc` takes it. */
export interface VprocPorts {
  readonly guard: Guard;
  readonly processes: Processes;
  readonly spawner: Spawner;
  readonly streams: StreamStore;
  readonly images: Images;
  readonly criu: Criu;
  /** Absent: memory goes with the images only. */
  readonly ahead?: Ahead;
  readonly records: MoveRecords;
  /**
   * What vproc alone knows of its processes, in a folder of its own: the same promises as `records`, the
   * key is 32 hex digits too.
   */
  readonly state: MoveRecords;
  /** Actors and their images, likewise. Absent: kept in memory only. */
  readonly actorRecords?: MoveRecords;
  readonly preflight: Preflight;
  /** Absent: `run` with an address is refused. */
  readonly addresses?: Addresses;
  readonly stub: Stub;
  readonly halter: Halter;
  /** Which processes stubs stand in for. Absent: kept in memory only. */
  readonly stubRecords?: MoveRecords;
  /** Absent: only kin and session say who holds streams. */
  readonly holders?: Holders;
  /** Absent: programs ask for nothing. */
  readonly ssisys?: Ssisys;
}
