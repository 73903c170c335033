// Pids of the cluster: which node's range a number is from, and which node is origin of that range in
// a view. The origin is a pure function of the view: everyone who has the view agrees, nobody asks.
// [OpenSSI vproc: origin node, surrogate origin]
import { findMember, pidRange, rangeOf, rendezvous, upMembers, type View } from '@ssi/contracts';

/**
 * Origin of range `range`: node `range` if it is UP, else its surrogate among the UP members
 * (rendezvous hash). undefined: no node is UP, or the number is from no node's range (0).
 */
export function originOfRange(view: View, range: number): number | undefined {
  if (range < 1) return undefined;
  if (findMember(view, range)?.state === 'UP') return range;
  return rendezvous(
    `origin:${range}`,
    upMembers(view).map((m) => m.num),
  );
}

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

/** Origin of a pid in a view; undefined as for `originOfRange`. */
export const originOf = (view: View, pid: number): number | undefined =>
  originOfRange(view, rangeOf(pid, view.pidBits));

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
