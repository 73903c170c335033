// An open end of an object that is opened (POSIX queue and semaphore, fifo): a file descriptor of a single
// machine. It belongs to its owner and has a number of his. [open(2)]
export interface End {
  readonly owner: string;
  readonly read: boolean;
  readonly write: boolean;
  nonblock: boolean;
}
/** By owner and number. */
export type Ends = Record<string, End>;

export const endKey = (owner: string, handle: number): string => `${owner}#${handle}`;
export const isOpen = (ends: Ends): boolean => Object.keys(ends).length > 0;
export const endsOf = (ends: Ends, owner: string): string[] =>
  Object.keys(ends).filter((key) => ends[key]?.owner === owner);
