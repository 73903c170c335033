// The standard streams of programs, as vproc uses them. Errors and times as in ports.ts.
import type { Reply, StreamState } from '@ssi/contracts';
import type { Subscription } from './ports.ts';

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
  /** Calls back (at most every few ms) when a log of this owner grew, ended, input was consumed, or the streams went. */
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
