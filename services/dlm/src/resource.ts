// A resource and the locks on it, as the resource master keeps them: three queues, the value block, the
// source of fencing tokens. Changed in place by `operations.ts`. [VMS DLM: lock database]
import type { LockMode, LockRange } from '@ssi/contracts';
import { emptyQueue, type Queue } from './queue.ts';
import type { Segment } from './ranges.ts';

/** Size of a value block, bytes. [VMS: extended value block; O2DLM] */
export const valueBytes = 64;

export interface Lock {
  /** Of the lock, for good; unique at its resource. */
  readonly lkid: number;
  /** Mode held; undefined: none yet. */
  granted: LockMode | undefined;
  /** Mode asked for; undefined: nothing is pending. */
  requested: LockMode | undefined;
  /** Of the newest request or conversion (`flag`). */
  flags: number;
  /** Whether its owner wants blocking ASTs. */
  bast: boolean;
  /** Rank of the highest mode its owner was told it blocks since the last grant; -1: not told. */
  told: number;
  /** What the owner sent along with VALBLK. */
  value: Uint8Array | undefined;
  /** Fencing token of the present grant; undefined for a mode that does not write. */
  token: Token | undefined;
  /** CONVDEADLK took its mode away for the conversion that is pending. [SBF_DEMOTED] */
  demoted: boolean;
  queue: Queue | undefined;
  before: Lock | undefined;
  after: Lock | undefined;
}

export interface Resource<L extends Lock = Lock> {
  readonly name: string;
  readonly granted: Queue<L>;
  readonly converting: Queue<L>;
  readonly waiting: Queue<L>;
  /** Value block; undefined: never written, read as zeros. */
  value: Uint8Array | undefined;
  /** Grows with each write of the value block. */
  valueSeq: number;
  /** The last holder that could write it died, or gave it up with IVVALBLK. [SBF_VALNOTVALID] */
  valueInvalid: boolean;
  /** Modes (bits by rank) that every granted lock was told of where it blocks them. */
  toldModes: number;
  tokens: Tokens;
  /** undefined: nobody ever asked for one. */
  ranges: Ranges<L> | undefined;
}

/** Byte ranges of a resource. */
export interface Ranges<L extends Lock = Lock> {
  /** By lkid of the owner. */
  readonly held: Map<number, readonly Segment[]>;
  /** In the order in which they came. */
  readonly waiting: { readonly lock: L; readonly wish: LockRange }[];
}

/** Where tokens come from: what is left of a block `next`..`last` of one transid. */
export interface Tokens {
  transid: number;
  next: number;
  /** The last one that may be given out; below `next`: none left. */
  last: number;
  /** The newest given out; n 0: none yet. */
  newest: Token;
}

/** transid x 2^35 + n, in two parts. */
export interface Token {
  readonly transid: number;
  readonly n: number;
}

/** `block`: fencing tokens from `first` to `last`, 1..2^35-1; absent: no writing mode can be granted yet. */
export const newResource = <L extends Lock = Lock>(
  name: string,
  block?: { readonly transid: number; readonly first: number; readonly last: number },
): Resource<L> => ({
  name,
  granted: emptyQueue<L>(),
  converting: emptyQueue<L>(),
  waiting: emptyQueue<L>(),
  value: undefined,
  valueSeq: 0,
  valueInvalid: false,
  toldModes: 0,
  ranges: undefined,
  tokens: {
    transid: block?.transid ?? 0,
    next: block?.first ?? 1,
    last: block?.last ?? 0,
    newest: { transid: 0, n: 0 },
  },
});

export const isUnused = (r: Resource): boolean =>
  r.granted.size + r.converting.size + r.waiting.size + (r.ranges?.waiting.length ?? 0) === 0;

export const newLock = (lkid: number, bast = false): Lock => ({
  lkid,
  granted: undefined,
  requested: undefined,
  flags: 0,
  bast,
  told: -1,
  value: undefined,
  token: undefined,
  demoted: false,
  queue: undefined,
  before: undefined,
  after: undefined,
});
