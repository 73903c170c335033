// Origin tables: for the ranges this node is origin of, where each process executes and how it ended.
// Reports may come late, twice and from several nodes: (born, hop) says which one counts.
// [OpenSSI vproc: origin node keeps parent, group, session, location and exit status]
import type { ExitStatus, OriginEntry } from '@ssi/contracts';

/** Ends nobody waited for, kept; the oldest goes first. */
export const exitsMax = 10_000;
/** Numbers that were waited for, remembered so that a second wait gets ECHILD. */
export const reapedMax = 4_096;

export type OriginMap = Map<number, OriginEntry>;

/**
 * Does `next` replace what is known? A later user of the number always does, an earlier one never;
 * then the higher hop. At one hop: the node that is known may correct itself, a live one corrects
 * doubt, and doubt corrects nobody. An end stands, but for one that the cluster declared: somebody may have
 * been told so before the node came back with another.
 */
export function supersedes(known: OriginEntry | undefined, next: OriginEntry): boolean {
  if (!known) return true;
  const [bornKnown, bornNext] = [known.born ?? 0, next.born ?? 0];
  if (bornNext !== bornKnown) return bornNext > bornKnown;
  if (next.hop !== known.hop) return next.hop > known.hop;
  if (known.phase === 'exited') return isDeclared(next) && !isDeclared(known);
  return next.node === known.node || (known.phase === 'doubt' && next.phase !== 'doubt');
}

/** Ended with its node, by the view. */
const isDeclared = (e: OriginEntry): boolean => e.exit?.reason === 'EHOSTDOWN';

/** Applies entries; returns those that were taken. */
export function applyEntries(table: OriginMap, entries: readonly OriginEntry[]): OriginEntry[] {
  const taken: OriginEntry[] = [];
  for (const e of entries) {
    if (!supersedes(table.get(e.pid), e)) continue;
    // Reinserted, so that the map's order is the order of the last news (exits: oldest first).
    if (e.phase === 'exited') table.delete(e.pid);
    table.set(e.pid, e);
    taken.push(e);
  }
  boundExits(table);
  return taken;
}

function boundExits(table: OriginMap): void {
  let exited = 0;
  for (const e of table.values()) if (e.phase === 'exited') exited++;
  for (const e of table.values()) {
    if (exited <= exitsMax) return;
    if (e.phase === 'exited' && table.delete(e.pid)) exited--;
  }
}

/**
 * Processes that vanished at `node` with an end that only their own parent saw. Only the node where the
 * table has them may say so. Returns those taken out.
 */
export function applyGone(table: OriginMap, gone: readonly number[], node: number): number[] {
  return gone.filter((pid) => {
    const known = table.get(pid);
    return known?.node === node && known.phase !== 'exited' && table.delete(pid);
  });
}

export const hostDown = (pid: number): ExitStatus => ({
  pid,
  code: null,
  signal: 'SIGKILL',
  reason: 'EHOSTDOWN',
});

/**
 * The nodes are dead and every survivor has said what lives (a move in doubt is decided by then): what
 * was there ended with them. Returns the ends.
 */
export function applyNodeDown(table: OriginMap, dead: ReadonlySet<number>): OriginEntry[] {
  const ended: OriginEntry[] = [];
  for (const e of [...table.values()]) {
    if (!dead.has(e.node) || e.phase === 'exited') continue;
    const entry: OriginEntry = { ...e, phase: 'exited', exit: hostDown(e.pid) };
    table.delete(e.pid);
    table.set(e.pid, entry);
    ended.push(entry);
  }
  return ended;
}

/** Adds to a bounded set; the oldest goes first. */
export function remember<T>(set: Set<T>, n: T, max: number): void {
  set.delete(n);
  set.add(n);
  for (const oldest of set) {
    if (set.size <= max) return;
    set.delete(oldest);
  }
}
