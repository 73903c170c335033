// Who asks what: the head of one request. The body goes to its handler beside it.
import type { Incoming } from './incoming.ts';

export class Request {
  readonly opcode: number;
  /**
   * Names the request until it is answered, and again when it is sent once more to a successor: a file
   * system that keeps it with the effect of what it changed runs nothing twice.
   */
  readonly unique: number;
  /** The kernel sends it for the second time: a server before may have done it already. */
  readonly resent: boolean;
  /** The inode that it is about (1: the root); for operations with a name, the directory. */
  readonly node: number;
  readonly uid: number;
  readonly gid: number;
  /** The calling thread, in the server's pid namespace; 0: the kernel itself, or one that has no number here. */
  readonly pid: number;
  #abort: AbortController | undefined;

  constructor(message: Incoming) {
    this.opcode = message.opcode;
    this.unique = message.unique;
    this.resent = message.resent;
    this.node = message.node;
    this.uid = message.u32(6);
    this.gid = message.u32(7);
    this.pid = message.u32(8);
  }

  /** Aborted when the caller got a signal: answer -EINTR soon, or end the work as if nothing had happened. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    return this.#abort.signal;
  }

  interrupt(): void {
    this.#abort ??= new AbortController();
    this.#abort.abort();
  }
}
