// What a node's own programs ask of its services by themselves, through a socket of the node.

/** A program of this node that asks for something, as the kernel names it. */
export interface ProgramCaller {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface ProgramRequest {
  readonly words: readonly string[];
  /** Empty where the words tell of none. */
  readonly text: Uint8Array;
  /** Aborted: a signal came, or the program ended. An answer is still sent. */
  readonly signal: AbortSignal;
}
