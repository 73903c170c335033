// Which tasks move together: the process with all its descendants (or a whole process group with
// theirs), and why a set cannot leave the rest behind. Pure: tasks in, set and reasons out.
import type { MoveReason } from '@ssi/contracts';

export interface Kin {
  readonly pid: number;
  /** 0 or 1: its parent is the node's init. */
  readonly ppid: number;
  readonly pgid: number;
  readonly sid: number;
}

export interface MoveSet<T extends Kin> {
  /** The root first, then children after their parents, each generation by pid. */
  readonly tasks: T[];
  readonly reasons: MoveReason[];
  /** The root's parent stays, and waits for a stand-in. */
  readonly standIn: boolean;
}

/** `root` and everything below it, parents before children; empty when it is not there. */
export function subtree<T extends Kin>(all: readonly T[], root: number): T[] {
  const children = new Map<number, T[]>();
  for (const t of all) children.set(t.ppid, [...(children.get(t.ppid) ?? []), t]);
  const first = all.find((t) => t.pid === root);
  const found = first ? [first] : [];
  for (let i = 0; i < found.length; i++) {
    const next = children.get(found[i]?.pid ?? 0) ?? [];
    found.push(...next.sort((a, b) => a.pid - b.pid));
  }
  return found;
}

/** The topmost ancestor of `pid` that is still one of `all`'s tasks and fulfils `within`. */
function topOf<T extends Kin>(
  byPid: ReadonlyMap<number, T>,
  pid: number,
  within: (t: T) => boolean,
): number {
  let top = pid;
  // Bounded by the number of tasks: a scan is not atomic and could show a loop.
  for (let i = 0; i <= byPid.size; i++) {
    const parent = byPid.get(byPid.get(top)?.ppid ?? 0);
    if (!parent || !within(parent)) break;
    top = parent.pid;
  }
  return top;
}

/**
 * The set that moves when `pid` is asked to. With `group`, it starts at the topmost ancestor of `pid`
 * in the same process group, and the whole group must lie below it. With `stubs`, a parent may stay, and
 * with it the session that its child is in.
 */
export function moveSet<T extends Kin>(
  all: readonly T[],
  q: { pid: number; group: boolean; initPids: readonly number[]; stubs?: boolean },
): MoveSet<T> {
  const byPid = new Map(all.map((t) => [t.pid, t]));
  const asked = byPid.get(q.pid);
  if (!asked) return { tasks: [], reasons: [], standIn: false };
  const rootPid = q.group ? topOf(byPid, q.pid, (t) => t.pgid === asked.pgid) : q.pid;
  const tasks = subtree(all, rootPid);
  const [root] = tasks;
  const standIn = q.stubs === true && root !== undefined && byPid.has(root.ppid);
  return { tasks, reasons: staying(all, tasks, q, standIn), standIn };
}

/** One reason for each tie that the set has to what would stay. */
function staying<T extends Kin>(
  all: readonly T[],
  tasks: readonly T[],
  q: { initPids: readonly number[]; stubs?: boolean },
  standIn: boolean,
): MoveReason[] {
  const inSet = new Set(tasks.map((t) => t.pid));
  const reasons: MoveReason[] = [];
  const root = tasks[0];
  // A session and group that others lead can be made again where the child goes; one that the root leads
  // inside of another's session cannot: a group without its parent's protection would be hung up.
  const alone = root !== undefined && !all.some((o) => o.sid === root.sid && !inSet.has(o.pid));
  const remade = (t: T): boolean =>
    q.stubs === true &&
    (standIn || alone) &&
    t.sid === root?.sid &&
    root.pgid !== root.pid &&
    (t.pgid === root.pgid || inSet.has(t.pgid));
  if (root && !standIn && !q.initPids.includes(root.ppid))
    reasons.push({
      code: 'EPARENT',
      pid: root.pid,
      detail: `its parent ${root.ppid} would stay: move that one, or with --group the whole group`,
    });
  for (const t of tasks) {
    if (!inSet.has(t.sid) && remade(t)) continue;
    if (!inSet.has(t.sid))
      reasons.push({
        code: 'ESESSION',
        pid: t.pid,
        detail: `belongs to session ${t.sid}, which would stay`,
      });
    else if (!inSet.has(t.pgid) && all.some((o) => o.pid === t.pgid))
      reasons.push({
        code: 'ESESSION',
        pid: t.pid,
        detail: `belongs to process group ${t.pgid}, whose leader would stay`,
      });
  }
  for (const other of all) {
    if (inSet.has(other.pid) || other.sid === 0 || !inSet.has(other.sid)) continue;
    reasons.push({
      code: 'ESESSION',
      pid: other.pid,
      detail: `it would stay, but is of session ${other.sid}, which would move`,
    });
  }
  return reasons;
}

/** Every number that a set of tasks uses, ascending: pids, thread ids, groups and sessions. */
export function numbersOf(
  tasks: readonly (Kin & { readonly tids: readonly number[] })[],
): number[] {
  const numbers = new Set<number>();
  for (const t of tasks)
    for (const n of [t.pid, t.pgid, t.sid, ...t.tids]) if (n > 0) numbers.add(n);
  return [...numbers].sort((a, b) => a - b);
}
