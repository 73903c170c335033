// Flags of a request or conversion as bits, and which combinations make sense.
// [include/uapi/linux/dlmconstants.h; fs/dlm/lock.c: set_lock_args, validate_lock_args]
import { fail, type LockFlag, type LockMode, lockFlags, ok, type Reply } from '@ssi/contracts';
import { queueable } from './modes.ts';

/** One bit for each flag, in the order of the contract. */
export const flag = Object.fromEntries(lockFlags.map((name, at) => [name, 1 << at])) as Readonly<
  Record<LockFlag, number>
>;

export const bitsOf = (names: readonly LockFlag[] = []): number =>
  names.reduce((bits, name) => bits | flag[name], 0);

export const namesOf = (bits: number): LockFlag[] => lockFlags.filter((n) => bits & flag[n]);

/** Only with a conversion. */
const onlyConvert = flag.QUECVT | flag.CONVDEADLK;
/** Only with a new request. */
const onlyRequest = flag.EXPEDITE | flag.ORPHAN | flag.PERSISTENT;

/** EINVAL: flags that contradict each other or the mode. */
export function checkRequest(mode: LockMode, bits: number): Reply<undefined, 'EINVAL'> {
  const odd = bits & onlyConvert;
  if (odd) return fail('EINVAL', `${namesOf(odd).join(', ')}: only for a conversion`);
  if (bits & flag.EXPEDITE && mode !== 'NL') return fail('EINVAL', 'EXPEDITE is for mode NL');
  if (bits & flag.EXPEDITE && bits & flag.NOQUEUE)
    return fail('EINVAL', 'EXPEDITE is never queued: leave NOQUEUE out');
  return both(bits);
}

/** EINVAL as above, and QUECVT with a conversion that is not up. */
export function checkConvert(
  from: LockMode,
  to: LockMode,
  bits: number,
): Reply<undefined, 'EINVAL'> {
  const odd = bits & onlyRequest;
  if (odd) return fail('EINVAL', `${namesOf(odd).join(', ')}: only for a new request`);
  if (bits & flag.QUECVT && !queueable(from, to))
    return fail('EINVAL', `QUECVT: ${from} to ${to} is not a conversion up`);
  if (bits & flag.QUECVT && bits & (flag.HEADQUE | flag.NOORDER))
    return fail('EINVAL', 'QUECVT is behind those that wait: leave HEADQUE and NOORDER out');
  if (bits & flag.CONVDEADLK && bits & flag.NOQUEUE)
    return fail('EINVAL', 'CONVDEADLK is for a conversion that may wait: leave NOQUEUE out');
  return both(bits);
}

function both(bits: number): Reply<undefined, 'EINVAL'> {
  if (bits & flag.ALTPR && bits & flag.ALTCW) return fail('EINVAL', 'ALTPR and ALTCW: one of them');
  if (bits & flag.NOQUEUEBAST && !(bits & flag.NOQUEUE))
    return fail('EINVAL', 'NOQUEUEBAST goes with NOQUEUE');
  return ok();
}
