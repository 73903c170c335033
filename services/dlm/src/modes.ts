// The six lock modes and the three tables that everything else follows from: which modes may be held
// together, which way a value block travels, and which conversions may ask to be queued.
// [VMS DLM: lock modes; fs/dlm/lock.c: __dlm_compat_matrix, dlm_lvb_operations, __quecvt_compat_matrix]
import { type LockMode, lockModes } from '@ssi/contracts';

/** Position of a mode in `lockModes`: NL 0 ... EX 5. "Higher" means a greater rank. */
export const rank: Readonly<Record<LockMode, number>> = {
  NL: 0,
  CR: 1,
  CW: 2,
  PR: 3,
  PW: 4,
  EX: 5,
};

/** Held mode (row) against wanted mode (column): 1 where both may be held. Symmetric. */
const together = [
  /*        NL CR CW PR PW EX */
  /* NL */ [1, 1, 1, 1, 1, 1],
  /* CR */ [1, 1, 1, 1, 1, 0],
  /* CW */ [1, 1, 1, 0, 0, 0],
  /* PR */ [1, 1, 0, 1, 0, 0],
  /* PW */ [1, 1, 0, 0, 0, 0],
  /* EX */ [1, 0, 0, 0, 0, 0],
];

export const compatible = (held: LockMode, wanted: LockMode): boolean =>
  together[rank[held]]?.[rank[wanted]] === 1;

/** The modes that cannot be held beside each mode, by rank of the latter. */
export const conflicts: readonly (readonly number[])[] = together.map((row) =>
  row.flatMap((may, column) => (may ? [] : [column])),
);

/** Modes whose holder may write: a grant of one of them carries a fencing token. */
export const writes = (mode: LockMode): boolean => mode === 'CW' || mode === 'PW' || mode === 'EX';

/** Modes whose holder may write the value block. */
export const writesValue = (mode: LockMode): boolean => mode === 'PW' || mode === 'EX';

/**
 * What VALBLK does when a lock that holds `from` (undefined: none yet) is granted `to`. A new grant and a
 * conversion up read; a conversion down from PW or EX, and one to the same of these, writes.
 */
export function valueDirection(
  from: LockMode | undefined,
  to: LockMode,
): 'read' | 'write' | 'none' {
  if (from === undefined || rank[to] > rank[from]) return 'read';
  if (writesValue(from)) return 'write';
  return from === to ? 'read' : 'none';
}

/** Whether QUECVT may go with this conversion: only those up, and PR to CW. */
export const queueable = (from: LockMode, to: LockMode): boolean =>
  rank[to] > rank[from] || (from === 'PR' && to === 'CW');

export const higher = (a: LockMode, b: LockMode): LockMode => (rank[a] >= rank[b] ? a : b);

/** Of rank `n`. */
export const modeOf = (n: number): LockMode => lockModes[n] as LockMode;
