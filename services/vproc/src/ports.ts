// What only vproc touches of a machine: the guard, /proc, criu, the standard streams, records on tmpfs.
// Each interface has a Linux adapter and an in-memory twin beside it in adapters/. Errors are data;
// nothing here throws or rejects but for programmer errors. Times are ms of this machine's
// CLOCK_BOOTTIME. A process is named by (pid, startTicks): a pid alone may have been used again.
import type { ExitStatus, MoveReason, ProcessInfo, Reply, StreamState } from '@ssi/contracts';
import type { BareConnection } from '@ssi/ports';

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

// --- standard streams -------------------------------------------------------------------------

/** Where a program's descriptors 0, 1, 2 come from: three FIFOs, or a terminal for all. */
export type StreamPaths =
  | { readonly in: string; readonly out: string; readonly err: string }
  | { readonly tty: string };

export interface TtySize {
  readonly rows: number;
  readonly cols: number;
}

/**
 * A terminal in the images: what criu must be told at dump (`--external`) and, at the target, which
 * slave takes its place. [criu(8): --external tty, --inherit-fd]
 */
export interface TtyBinding {
  /** `tty[rdev:dev]` of the slave where the program was dumped; kept through every later move. */
  readonly external: string;
  /** Path of the slave on this node. */
  readonly path: string;
}

/**
 * Numbered byte streams of a program started by `Spawner`, owned by the pid that it got. Bytes have
 * offsets from 0; the log keeps the last 64 MiB. Each byte moves by one system call and every position
 * is the kernel's (held by the guard), so a killed vproc neither loses nor doubles one.
 */
export interface StreamStore {
  /** New streams, flowing. `noInput`: standard input is at its end from the start. */
  create(options: {
    readonly owner: number;
    readonly tty?: TtySize;
    readonly noInput?: boolean;
    readonly uid: number;
    readonly gid: number;
  }): Promise<Reply<StreamPaths, 'EEXIST' | 'ENOSPC' | 'EIO'>>;
  /**
   * After a restart of vproc: opens what is on the node's tmpfs and goes on, but leaves the owners in
   * `paused` paused (moves in work). Returns the owners.
   */
  adopt(paused: readonly number[]): Promise<Reply<readonly number[], 'EIO'>>;
  /** States by name in the order in, out, err or just tty (output) and in (input). ENOENT: no streams. */
  state(owner: number): Promise<Reply<readonly StreamState[], 'ENOENT'>>;
  tty(owner: number): TtyBinding | undefined;
  /** Present size of the terminal; undefined: no terminal. */
  ttySize(owner: number): TtySize | undefined;
  /** Where the descriptors of the owner's program lead; undefined: no streams. */
  paths(owner: number): StreamPaths | undefined;
  /** Whose path this is; undefined: of no streams here. */
  ownerAt(path: string): number | undefined;
  /**
   * Bytes of the log from `offset`, at most `maxBytes`, empty at the end (eof says whether more can come).
   * `offset` of the reply is higher than asked for where the log no longer has the beginning.
   */
  read(
    owner: number,
    name: StreamState['name'],
    offset: number,
    maxBytes: number,
  ): Promise<
    Reply<{ readonly offset: number; readonly data: Uint8Array; readonly eof: boolean }, 'ENOENT'>
  >;
  /** Calls back (at most every few ms) when a log of this owner grew, ended, or input was consumed. */
  onChange(owner: number, fn: () => void): Subscription;
  /**
   * Input from a client. `offset` is where the bytes belong: what is already there is skipped, so
   * repeating is harmless. Returns the log's new end. ERANGE: beyond the end; EAGAIN: 8 MiB unread, or
   * paused, try again later; EPIPE: the input was ended.
   */
  append(
    owner: number,
    offset: number,
    data: Uint8Array,
  ): Promise<Reply<number, 'ENOENT' | 'ERANGE' | 'EAGAIN' | 'EPIPE' | 'EIO'>>;
  /** No input after what was appended; the program reads EOF (a terminal: ^D) when it has it all. */
  endInput(owner: number): Promise<Reply<undefined, 'ENOENT' | 'EIO'>>;
  /** The program and all who had its streams open are gone: the rest is drained, eof is set. */
  endOutput(owner: number): Promise<Reply<undefined, 'ENOENT' | 'EIO'>>;
  resize(owner: number, size: TtySize): Promise<Reply<undefined, 'ENOENT' | 'ENOTTY' | 'EIO'>>;
  /** Source, before the dump: nothing more is handed to the program (criu carries what lies in the FIFO). */
  pauseInput(owner: number): Promise<Reply<undefined, 'ENOENT' | 'EIO'>>;
  /** Input that was handed over and that the program has not read: it goes to who takes its place. */
  unreadInput(owner: number): number;
  /** Source, after the dump: drains what the stopped program wrote into the log, then stands still. */
  pause(owner: number): Promise<Reply<readonly StreamState[], 'ENOENT' | 'EIO'>>;
  /** After a rollback (source) or a commit (target): flows again. Idempotent. */
  resume(owner: number): Promise<Reply<undefined, 'ENOENT' | 'EIO'>>;
  /**
   * Target, before the restore: paused streams with empty logs that begin at `startOffset`; then `fill`
   * what the source's logs hold. Installing again gives the same.
   */
  install(options: {
    readonly owner: number;
    readonly states: readonly StreamState[];
    readonly tty?: TtySize & { readonly external: string };
    readonly uid: number;
    readonly gid: number;
  }): Promise<Reply<StreamPaths, 'ENOSPC' | 'EIO'>>;
  /** Target: bytes of a log at their offset; in any order, repeated or not. */
  fill(
    owner: number,
    name: StreamState['name'],
    offset: number,
    data: Uint8Array,
  ): Promise<Reply<undefined, 'ENOENT' | 'ENOSPC' | 'EIO'>>;
  /**
   * Target, after the restore and before the program runs: sets the final offsets, and drops what the
   * restore put into output FIFOs (the source drained it into the log).
   */
  settle(
    owner: number,
    states: readonly StreamState[],
  ): Promise<Reply<undefined, 'ENOENT' | 'EIO'>>;
  /** Forgets the streams, files and all. Idempotent. */
  remove(owner: number): Promise<Reply<undefined, 'EIO'>>;
}

// --- moving -----------------------------------------------------------------------------------

/** A piece of an image file. Names have no slash. A file is complete with its `last` piece. */
export interface ImageChunk {
  readonly name: string;
  readonly offset: number;
  /** At most 256 KiB. Of a dump: valid until the next chunk is asked for. */
  readonly data: Uint8Array;
  readonly last: boolean;
}

/** Image folders on the node's tmpfs, one for each move. */
export interface Images {
  /** Makes the folder empty. */
  create(moveId: string): Promise<Reply<undefined, 'ENOSPC' | 'EIO'>>;
  write(moveId: string, chunk: ImageChunk): Promise<Reply<undefined, 'ENOSPC' | 'EIO' | 'EINVAL'>>;
  remove(moveId: string): Promise<Reply<undefined, 'EIO'>>;
  /** Moves that have a folder. */
  list(): Promise<Reply<readonly string[], 'EIO'>>;
  /** Room for images, bytes. */
  freeBytes(): Promise<number>;
}

export interface DumpRequest {
  readonly moveId: string;
  readonly root: number;
  /** Node it moves to; actors tell it to their senders. */
  readonly to?: number;
  /** The root leads no session of its own. [criu(8): --shell-job] */
  readonly shellJob: boolean;
  readonly tty?: TtyBinding;
  /** Carry established TCP. [criu(8): --tcp-established] */
  readonly tcpEstablished?: boolean;
}

export interface DumpResult {
  /** When the first task was stopped, ms of CLOCK_BOOTTIME, to a few ms. */
  readonly freezeAtMs: number;
  /** criu's own count of the frozen time until the images were written, ms. */
  readonly frozenMs: number;
  /** Of all images. */
  readonly bytes: number;
  /** Of the tree, all stopped now. Root first, parents before children. */
  readonly tasks: readonly ProcessRef[];
  /** Those that were stopped by a signal before the dump: they stay stopped when the rest goes on. */
  readonly stoppedBefore: readonly number[];
}

export interface Dump {
  /**
   * The images, memory pages while they are written, the rest when the dump has ended; ends early when it
   * failed. To be read to the end, once: reading is the back-pressure, the dump itself never waits for it.
   */
  readonly chunks: AsyncIterable<ImageChunk>;
  /** EIO: could not, and the tree runs on as if nothing had been. */
  readonly done: Promise<Reply<DumpResult, 'EIO' | 'ESRCH' | 'ENOSPC'>>;
}

export interface RestoreRequest {
  readonly moveId: string;
  readonly root: number;
  readonly shellJob: boolean;
  /** Of the root, where it leads no session: the session is made for it, under the same number. */
  readonly session?: { readonly sid: number; readonly pgid: number };
  /** `external` as in the images, `path` of the slave here. */
  readonly tty?: TtyBinding;
  readonly tcpEstablished?: boolean;
}

export interface RestoreResult {
  readonly tasks: readonly ProcessRef[];
  readonly restoreMs: number;
}

/** Checkpoint and restore of a process tree. One dump or restore of a tree at a time. [criu(8)] */
export interface Criu {
  /** `4.2.1`; ENOSYS: there is none here that works. */
  version(): Promise<Reply<string, 'ENOSYS'>>;
  /** Dumps a tree into the move's folder and leaves it stopped. */
  dump(request: DumpRequest): Dump;
  /**
   * Does what a restore can do before its images are there. It only makes the restore faster: what fails
   * here is done then. Idempotent; `restore` or `discard` follows.
   */
  prepare(moveId: string): Promise<void>;
  /** There will be no restore. Idempotent. */
  discard(moveId: string): Promise<void>;
  /**
   * Restores the tree from the move's folder, in the programs cgroup, as child of pid 1, all of it
   * stopped. ECANCELED: could not, and nothing of it is left.
   */
  restore(request: RestoreRequest): Promise<Reply<RestoreResult, 'ECANCELED'>>;
  /** SIGCONT, children first, but not those in `stoppedBefore`. Idempotent; tasks that are gone don't matter. */
  resume(
    tasks: readonly ProcessRef[],
    stoppedBefore: readonly number[],
  ): Promise<Reply<undefined, 'EIO'>>;
  /**
   * SIGKILL of the tasks and what descends from them; answers when the last is reaped and its numbers are
   * free. Idempotent. ETIMEDOUT: not within 10 s, ask again.
   */
  destroy(tasks: readonly ProcessRef[]): Promise<Reply<undefined, 'ETIMEDOUT' | 'EIO'>>;
  /** Removes what a move may have left in the kernel (criu's drop rules). Idempotent. */
  cleanUp(): Promise<Reply<undefined, 'EIO'>>;
}

/** Move records on tmpfs: whole or not there, in the order they were written. */
export interface MoveRecords {
  /** Replaces the record of this move (new file, rename). `record` is JSON. */
  write(moveId: string, record: unknown): Promise<Reply<undefined, 'ENOSPC' | 'EIO'>>;
  list(): Promise<Reply<readonly { readonly moveId: string; readonly record: unknown }[], 'EIO'>>;
  remove(moveId: string): Promise<Reply<undefined, 'EIO'>>;
}

/** A file that must be the same at the target. */
export interface NeededFile {
  readonly path: string;
  /** -1: any size (a directory, or a file that the program writes). */
  readonly sizeBytes: number;
  /** sha256, hex, of what is executed or mapped as code. */
  readonly digest?: string;
}

export interface Inspection {
  /** Empty: nothing here stands against a move. */
  readonly reasons: readonly MoveReason[];
  readonly files: readonly NeededFile[];
  /** The tree has connected TCP that moves along. */
  readonly tcpEstablished?: boolean;
  /** Resident memory of the tree, bytes: what the images will be at most, about. */
  readonly bytesEstimate: number;
}

/** Why a tree cannot move, before anyone tries. */
export interface Preflight {
  kernel(): string;
  /** Sorted. [/proc/cpuinfo] */
  cpuFlags(): readonly string[];
  /**
   * Source: looks at descriptors, maps, namespaces of every task. `streams`: owner's paths, which are no
   * reason. Processes outside `pids` must share nothing with those inside.
   */
  inspect(options: {
    readonly pids: readonly number[];
    /** Also compute digests (slower the first time; cached by inode, size and mtime). */
    readonly digests: boolean;
    readonly streams?: StreamPaths;
    /** Floating address of the tree: TCP connected from it moves. */
    readonly addr?: string;
  }): Promise<Reply<Inspection, 'ESRCH'>>;
  /** Target: ENOFILE for each file that is missing or another one. */
  checkFiles(files: readonly NeededFile[]): Promise<readonly MoveReason[]>;
  /** Target: EPIDBUSY for each number in use as pid, tid, pgid or sid but by a placeholder in `held`. */
  checkNumbers(numbers: readonly number[], held: readonly number[]): Promise<readonly MoveReason[]>;
}

/** A process that stands still, and what a program in its place inherits. */
export interface Halted {
  /** When it stood still, ms of CLOCK_BOOTTIME. */
  readonly atMs: number;
  /** It was stopped by a signal before. */
  readonly stoppedBefore: boolean;
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
}

/** The first half of an exec on another node. `Criu.resume` undoes it. */
export interface Halter {
  /** SIGSTOP; answers when every thread stands still. EIO: not within 5 s, and it runs on. */
  halt(ref: ProcessRef): Promise<Reply<Halted, 'ESRCH' | 'EIO'>>;
}

/** Stand-in for a child that moved while its parent stayed, so that the parent's own wait(2) works. */
export interface Stub {
  /**
   * Replaces the stopped process by a stub with the same pid, parent, group and session. Idempotent. EIO:
   * could not, and the process may be dead.
   */
  replace(ref: ProcessRef): Promise<Reply<ProcessRef, 'ESRCH' | 'EIO'>>;
  /** The stub ends exactly as the process did elsewhere. */
  end(ref: ProcessRef, status: ExitStatus): Promise<Reply<undefined, 'ESRCH' | 'EIO'>>;
  /** Numbers of the signals that kill(2) sent to the stub, from the `from`th on, oldest first. */
  signals(pid: number, from: number): Promise<readonly number[]>;
  /** It is gone: what was kept of its signals too. Idempotent. */
  forget(pid: number): Promise<void>;
}

/** Who holds standard streams, by the descriptors that are open: daemons may have left their family. */
export interface Holders {
  /** Programs of the node that have one of the paths open. Looks at all of them: asked seldom. */
  of(paths: StreamPaths): Promise<readonly ProcessRef[]>;
  /** Whose streams the process has open, those of its lowest descriptor first; undefined: nobody's. */
  ownerOf(pid: number): Promise<number | undefined>;
}

/** Memory on its way to the target while its program still runs. */
export interface SendingAhead {
  /**
   * Resolves once another round would gain little: now the tree may be stopped. EIO: it cannot be sent
   * ahead; move it without.
   */
  readonly ready: Promise<Reply<{ readonly bytes: number }, 'EIO'>>;
  /** After the dump has stopped the tree: the target has all of it, checked. EIO: it has not. */
  readonly done: Promise<Reply<{ readonly bytes: number }, 'EIO'>>;
  /**
   * Post-copy: all of its pages have gone from the stopped copy, which nobody needs any more, or the target
   * kills its own. Else the same as `done`.
   */
  readonly all: Promise<Reply<{ readonly bytes: number }, 'EIO'>>;
  /** Idempotent; nothing of it is left at the source. */
  stop(): void;
}

/**
 * Large private memory of a tree goes ahead of its images, which then hold the rest. At the target it is
 * complete before the restore begins, and is given to the tree while that runs already; `Criu.dump` waits
 * until a tree has all of its memory.
 */
export interface Ahead {
  /** Source, before `Criu.dump` of the same move, which leaves out what is sent here. */
  send(
    moveId: string,
    pids: readonly number[],
    connection: BareConnection,
    /** Nothing before the tree is stopped; its pages go from the stopped copy, after `done`. */
    postCopy: boolean,
  ): SendingAhead;
  /** Target: into the move's folder. ok: all is here, and is the source's; post-copy: it may be restored. */
  receive(moveId: string, connection: BareConnection): Promise<Reply<undefined, 'EIO'>>;
  /** Target: there will be no restore. Idempotent. */
  discard(moveId: string): void;
}

/** A program of this node that asks for something, as the kernel names it. */
export interface ProgramCaller {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

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
