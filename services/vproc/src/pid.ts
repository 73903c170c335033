// Pids of the cluster: which node's range a number is from, which ranges a node is origin of, and who
// stands by for an origin. The origin itself is in the contracts. [OpenSSI vproc: surrogate origin]
import {
  findMember,
  originOfRange,
  pidRange,
  rangeOf,
  rendezvous,
  upMembers,
  type View,
} from '@ssi/contracts';

/**
 * Who becomes origin of `range` when its present origin dies: it is told the same reports, so that the
 * ends of what dies with the origin are known. undefined: there is no other node.
 */
export function standbyOfRange(view: View, range: number): number | undefined {
  const origin = originOfRange(view, range);
  const others = upMembers(view)
    .map((m) => m.num)
    .filter((n) => n !== origin);
  return origin === undefined ? undefined : rendezvous(`origin:${range}`, others);
}

/** Ranges that `num` is origin of, ascending: its own while it is UP, and those it stands in for. */
export const rangesOf = (view: View, num: number): number[] =>
  view.members.map((m) => m.num).filter((range) => originOfRange(view, range) === num);

/** True where the number belongs to the range of some node that this view knows. */
export const inSomeRange = (view: View, pid: number): boolean =>
  findMember(view, rangeOf(pid, view.pidBits)) !== undefined;

export const inRange = (num: number, pid: number, pidBits: 14 | 16): boolean => {
  const { low, high } = pidRange(num, pidBits);
  return pid >= low && pid <= high;
};

/** Ticks (100 a second) of 21 years of one machine's uptime: the lower part of a `born` number. */
const ticksMax = 2 ** 36;

/**
 * Tells two users of one number apart: grows with each boot of the node whose range it is from, and
 * with the start time within a boot. Below 2^53 for 131,071 boots.
 */
export const bornNumber = (bootCount: number, startTicks: number): number =>
  bootCount * ticksMax + Math.min(startTicks, ticksMax - 1);
