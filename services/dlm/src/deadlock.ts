// Deadlocks over several resources: which locks wait for which, as seen twice, and who gives way. A cycle
// counts only if each wait of it was there both times, unchanged: then all of them were there at once, and
// none of them ends by itself. [VMS: DEADLOCK_WAIT; OpenDLM: XID]
import type { dlm, ReplyOf } from '@ssi/contracts';
import { flag } from './flags.ts';
import { compatible } from './modes.ts';

export type SeenResource = ReplyOf<typeof dlm.ops.waits>['resources'][number];
type SeenLock = SeenResource['granted'][number];

/** One operation that waits, as a master knows it. */
export interface Waiter {
  readonly master: number;
  readonly key: string;
  readonly lkid: number;
  readonly op: number;
  /** So long that master has had it, ms. */
  readonly waitedMs: number;
}

/** `waiter`, of owner `from`, cannot go on before a lock of owner `to` does something. */
export interface Wait {
  readonly from: string;
  readonly to: string;
  readonly waiter: Waiter;
  /** Equal for the same wait for the same lock in the same state. */
  readonly id: string;
}

/** Locks with one xid do one thing at a time; one without is on its own. */
const ownerOf = (lock: SeenLock): string => lock.xid ?? `lock ${lock.lkid}`;

/** Who waits for whom at the resources of one master. */
export function waitsAt(master: number, resources: readonly SeenResource[]): Wait[] {
  return resources.flatMap((r) => [
    ...rangeWaits(master, r),
    ...[...r.converting, ...r.waiting].flatMap((lock, at, queued) => {
      if (lock.flags & flag.NODLCKWT) return [];
      const blockers = [...r.granted, ...r.converting].filter(
        (b) => b !== lock && inTheWay(b, lock),
      );
      // Whoever stands before it waits in turn for who stands before that one.
      const before = queued[at - 1];
      if (before && !(lock.flags & flag.NOORDER)) blockers.push(before);
      const { lkid, op, waitedMs } = lock;
      const waiter = { ...{ master, key: r.key, lkid, op, waitedMs } };
      return blockers.map((b) => ({
        ...{ from: ownerOf(lock), to: ownerOf(b), waiter },
        id: [master, r.key, lkid, op, b.lkid, b.op, b.held, b.requested].join(' '),
      }));
    }),
  ]);
}

/** Those who wait for a byte range are among the granted, since they hold their mode. */
function rangeWaits(master: number, { key, granted, ranges = [] }: SeenResource): Wait[] {
  const byLkid = new Map(ranges.length > 0 ? granted.map((lock) => [lock.lkid, lock]) : []);
  return ranges.flatMap(({ lkid, blockers }) => {
    const lock = byLkid.get(lkid);
    if (!lock || lock.flags & flag.NODLCKWT) return [];
    const { op, waitedMs } = lock;
    return blockers.flatMap((blocker) => {
      const b = byLkid.get(blocker);
      if (!b) return [];
      return {
        ...{ from: ownerOf(lock), to: ownerOf(b), waiter: { master, key, lkid, op, waitedMs } },
        id: [master, key, lkid, op, b.lkid, b.op, b.requested].join(' '),
      };
    });
  });
}

/** In each mode that it would take. */
function inTheWay(holder: SeenLock, waiter: SeenLock): boolean {
  const modes = [
    ...(waiter.requested ? [waiter.requested] : []),
    ...(waiter.flags & flag.ALTPR ? (['PR'] as const) : []),
    ...(waiter.flags & flag.ALTCW ? (['CW'] as const) : []),
  ];
  return modes.every((mode) => holder.held !== undefined && !compatible(holder.held, mode));
}

/** Those that were there when the first was taken and still when the second was. */
export function confirmed(first: readonly Wait[], second: readonly Wait[]): Wait[] {
  const ids = new Set(first.map((wait) => wait.id));
  return second.filter((wait) => ids.has(wait.id));
}

/** Of each knot of cycles one that gives way: the one that has waited the shortest. */
export function victims(waits: readonly Wait[]): Waiter[] {
  const knotOf = knots(waits);
  const chosen = new Map<number, Waiter>();
  for (const { from, to, waiter } of waits) {
    const knot = knotOf.get(from);
    // A wait from one to another of the same knot is part of a cycle.
    if (knot === undefined || knot !== knotOf.get(to)) continue;
    const other = chosen.get(knot);
    if (!other || isYounger(waiter, other)) chosen.set(knot, waiter);
  }
  return [...chosen.values()];
}

const isYounger = (a: Waiter, b: Waiter): boolean =>
  a.waitedMs < b.waitedMs || (a.waitedMs === b.waitedMs && a.lkid > b.lkid);

/** The strongly connected component of each owner, by number. [Tarjan 1972, without recursion] */
function knots(waits: readonly Wait[]): Map<string, number> {
  const next = new Map<string, string[]>();
  for (const { from, to } of waits) {
    const list = next.get(from);
    if (list) list.push(to);
    else next.set(from, [to]);
  }
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const knotOf = new Map<string, number>();
  const stack: string[] = [];
  const lower = (of: string, to: number): void => {
    low.set(of, Math.min(low.get(of) ?? to, to));
  };
  for (const root of next.keys()) {
    if (index.has(root)) continue;
    const path: { owner: string; at: number }[] = [];
    const enter = (owner: string): void => {
      low.set(owner, index.size);
      index.set(owner, index.size);
      stack.push(owner);
      path.push({ owner, at: 0 });
    };
    enter(root);
    for (let top = path.at(-1); top; top = path.at(-1)) {
      const { owner } = top;
      const to = next.get(owner)?.[top.at++];
      if (to !== undefined) {
        const seen = index.get(to);
        if (seen === undefined) enter(to);
        else if (!knotOf.has(to)) lower(owner, seen);
        continue;
      }
      path.pop();
      const mine = low.get(owner) as number;
      const parent = path.at(-1);
      if (parent) lower(parent.owner, mine);
      if (mine !== index.get(owner)) continue;
      for (let member = stack.pop(); member !== undefined; member = stack.pop()) {
        knotOf.set(member, mine);
        if (member === owner) break;
      }
    }
  }
  return knotOf;
}
