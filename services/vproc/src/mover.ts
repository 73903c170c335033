// What a move needs of a machine: images, criu and its stand-ins, records, memory that goes ahead. Errors and
// times as in ports.ts.
import type { ExitStatus, MoveReason, Reply } from '@ssi/contracts';
import type { BareConnection } from '@ssi/ports';
import type { ProcessRef } from './ports.ts';
import type { StreamPaths, TtyBinding } from './stream-store.ts';

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
  /** What TCP it has connected is closed when it is restored. [criu(8): --tcp-close] */
  readonly tcpClosed?: boolean;
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
  /** Inodes that it has open on the cluster file system, whose locks no kernel table shows. */
  readonly onCfs?: readonly number[];
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
  /** Source, of a tree that stands still: what it may have opened or locked since `inspect`. */
  opened(options: {
    readonly pids: readonly number[];
    readonly streams?: StreamPaths;
    /** As `inspect` said: what TCP is connected goes along. Absent: what is, but to the bus, is a reason. */
    readonly tcpEstablished?: boolean;
  }): Promise<Pick<Inspection, 'reasons' | 'onCfs'>>;
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
  /**
   * Post-copy: the program runs at the target, so now its pages may go as fast as they can. Before, only
   * those that it waits for do: the rest would take time from its restore. Idempotent.
   */
  rest(): void;
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
