// What only the lock manager touches: a record that outlives the service, but not the boot of its node.
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
