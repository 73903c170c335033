// Words of the lock manager that its contract, its service and its clients share: modes and flags.
import { z } from 'zod';

/** Lock modes, weakest first. NL null, CR/CW concurrent read/write, PR/PW protected, EX exclusive. [VMS DLM] */
export const lockModes = ['NL', 'CR', 'CW', 'PR', 'PW', 'EX'] as const;
export const lockMode = z.enum(lockModes);
export type LockMode = z.infer<typeof lockMode>;

/** Flags of a request or conversion. Order and names are contract for good. [dlmconstants.h: DLM_LKF_*] */
export const lockFlags = [
  /** EAGAIN instead of being queued. */
  'NOQUEUE',
  /** With NOQUEUE: the holders that stand in the way get a blocking AST all the same. */
  'NOQUEUEBAST',
  /** The value block is read or written with the grant. */
  'VALBLK',
  /** The value block is declared invalid where it would be written. */
  'IVVALBLK',
  /** Conversion up: behind the conversions that wait, though it would be compatible. */
  'QUECVT',
  /** Conversion: demoted to NL where it would be in a conversion deadlock, instead of EDEADLK. */
  'CONVDEADLK',
  /** Never a deadlock's victim: queued though it is in one, the owner sees to it by itself. */
  'NODLCKWT',
  /** New NL: granted past everybody who waits. */
  'EXPEDITE',
  /** Queued as the first instead of as the last. */
  'HEADQUE',
  /** Granted as soon as it is compatible, without regard to order. */
  'NOORDER',
  /** PR is granted where the requested mode cannot be granted at once. */
  'ALTPR',
  /** CW likewise. */
  'ALTCW',
  /** Survives its owner: an orphan, until somebody adopts or purges it. */
  'PERSISTENT',
  /** Adopts an orphan of this node of this resource and mode, with a new token: EAGAIN another mode, ENOENT none. */
  'ORPHAN',
] as const;
export const lockFlag = z.enum(lockFlags);
export type LockFlag = z.infer<typeof lockFlag>;
