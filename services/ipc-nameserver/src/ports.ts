// What only the nameserver touches: a cache of its table, and a record of the ids it gave out; and the programs of
// the node that ask by themselves.
import type { IpcBinding, Reply } from '@ssi/contracts';
import type { ProgramCaller, ProgramRequest } from '@ssi/ports';

/**
 * The table of the last nameserver, as a hint: it may be empty, old, or of another cluster, and losing it at any
 * moment costs time only. Nothing here fails: what cannot be done is not done. Writes go in order.
 */
export interface NameCache {
  /**
   * From now on only writes of this epoch or a later one count. Gives what the cache has; of another cluster,
   * of a later epoch, or when it does not answer in time, nothing.
   */
  begin(epoch: number): Promise<IpcBinding[]>;
  /** Everything it is to have. */
  replace(epoch: number, bindings: readonly IpcBinding[]): void;
  put(epoch: number, binding: IpcBinding): void;
  drop(epoch: number, binding: Pick<IpcBinding, 'id' | 'type'>): void;
  close(): void;
}

/** Outlives the service, but not the boot of its node. */
export interface IdRecord {
  /** Ids up to this one may have been given out; 0: none in this boot. */
  load(): Promise<number>;
  save(id: number): Promise<void>;
}

/** Numbers that the call gives, and the text of a message. */
export interface ProgramReply {
  readonly words: string;
  readonly text?: Uint8Array;
}
export type ProgramCall = (
  caller: ProgramCaller,
  request: ProgramRequest,
) => Promise<Reply<ProgramReply>>;

/** System V calls of programs that know nothing of a cluster. [infra/native/libssi-sysv.c] */
export interface Programs {
  serve(answer: ProgramCall): { stop(): void };
  /** It is on this node. */
  has(pid: number): boolean;
}
