// What only the lock manager touches: records that outlive the service, but not the boot of its node.
export interface TokenRecord {
  /** undefined: nothing was saved in this boot. */
  load(): Promise<Reserved | undefined>;
  /** Resolves when it is there for the next life of the service. */
  save(reserved: Reserved): Promise<void>;
}

/** Tokens of `transid` up to `n` may have been given out; the service was started so often. */
export interface Reserved {
  readonly starts: number;
  readonly transid: number;
  readonly n: number;
}

/** The sessions that are open, for the next life of the service. */
export interface SessionRecord {
  all(): Promise<readonly RecordedSession[]>;
  /** Resolves when the next life will know of it. */
  add(one: RecordedSession): Promise<void>;
  remove(one: RecordedSession): void;
}

export interface RecordedSession {
  readonly session: string;
  /** Boot count of the node when it was opened: a node may begin another life without a boot of its machine. */
  readonly boot: number;
}
