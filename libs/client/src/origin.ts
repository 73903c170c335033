// Where a client asks about a pid: its origin, a pure function of the view, the same one that services
// compute. [OpenSSI vproc: origin, surrogate origin]
import { findMember, rangeOf, rendezvous, upMembers, type View } from '@ssi/contracts';

/** Node k of the pid's range if UP, else its surrogate; undefined: of no node's range, or nobody is UP. */
export function originOf(view: View, pid: number): number | undefined {
  const range = rangeOf(pid, view.pidBits);
  if (range < 1) return undefined;
  const up = upMembers(view).map((m) => m.num);
  return findMember(view, range)?.state === 'UP' ? range : rendezvous(`origin:${range}`, up);
}
