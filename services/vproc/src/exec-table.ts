// The processes that execute on this node: what the last scan saw, with what only vproc knows of each
// (moves so far, birth, how it was started). Plain data in, plain data out; no I/O.
import type { OriginEntry, ProcessInfo } from '@ssi/contracts';
import type { ProcessRef, ScannedProcess } from './ports.ts';

/** What `run` was asked for and must go along with the process. */
export interface RunTraits {
  readonly tty: boolean;
  readonly pin: boolean;
  readonly sigcluster?: number;
  /** Floating address. */
  readonly addr?: string;
  readonly uid: number;
  readonly gid: number;
}

/** What vproc knows of a process beyond /proc. */
export interface Identity {
  /** Committed moves so far. */
  readonly hop: number;
  /** Birth number: two users of one pid differ in it. */
  readonly born: number;
  /** The pid that `run` returned for its oldest known ancestor here: whose streams it may hold. */
  readonly owner?: number;
  readonly run?: RunTraits;
}

export interface ExecEntry extends ScannedProcess, Identity {}

export interface ScanDiff {
  readonly table: ReadonlyMap<number, ExecEntry>;
  /** New ones, and those of which origin would notice a difference. */
  readonly changed: ExecEntry[];
  /** In the old table, not in the scan, or another user of the number now. */
  readonly gone: ExecEntry[];
}

const sameUser = (a: ProcessRef, b: ProcessRef): boolean =>
  a.pid === b.pid && a.startTicks === b.startTicks;

/** True where the origin table would not change. */
function sameForOrigin(a: ExecEntry, b: ExecEntry): boolean {
  return (
    sameUser(a, b) &&
    a.hop === b.hop &&
    a.ppid === b.ppid &&
    a.pgid === b.pgid &&
    a.sid === b.sid &&
    a.tids.length === b.tids.length &&
    a.tids.every((t, i) => t === b.tids[i])
  );
}

/** Whose streams a new process may hold: its parent's owner, else that of its session. */
function ownerOf(p: ScannedProcess, known: ReadonlyMap<number, ExecEntry>): number | undefined {
  return known.get(p.ppid)?.owner ?? known.get(p.sid)?.owner;
}

/**
 * The table after a scan. `identify` gives what is recorded of a process that the table does not know
 * (just started or restored); otherwise it was born here: hop 0.
 */
export function applyScan(
  table: ReadonlyMap<number, ExecEntry>,
  scan: readonly ScannedProcess[],
  q: {
    identify: (ref: ProcessRef) => Identity | undefined;
    bornHere: (ref: ProcessRef) => number;
    /** Streams of that owner are open: `run` made it leader of a session of the same number. */
    isOwner: (pid: number) => boolean;
  },
): ScanDiff {
  const next = new Map<number, ExecEntry>();
  const changed: ExecEntry[] = [];
  const gone: ExecEntry[] = [];
  // Zombies are dead already: their status comes by the guard, their number is still in use.
  for (const p of scan) {
    const old = table.get(p.pid);
    const known = old && sameUser(old, p) ? old : undefined;
    const id = q.identify(p) ?? known;
    const session = q.isOwner(p.sid) ? p.sid : undefined;
    const owner = id?.owner ?? ownerOf(p, table) ?? ownerOf(p, next) ?? session;
    const entry: ExecEntry = {
      ...p,
      hop: id?.hop ?? 0,
      born: id?.born ?? q.bornHere(p),
      ...(owner === undefined ? {} : { owner }),
      ...(id?.run ? { run: id.run } : {}),
    };
    next.set(p.pid, entry);
    if (!known || !sameForOrigin(known, entry)) changed.push(entry);
  }
  for (const old of table.values()) {
    const now = next.get(old.pid);
    if (!now || !sameUser(now, old)) gone.push(old);
  }
  return { table: next, changed, gone };
}

export const toOriginEntry = (
  e: ExecEntry,
  node: number,
  phase: OriginEntry['phase'] = 'live',
): OriginEntry => ({
  pid: e.pid,
  ppid: e.ppid,
  pgid: e.pgid,
  sid: e.sid,
  tids: [...e.tids],
  kind: e.kind ?? 'native',
  node,
  hop: e.hop,
  born: e.born,
  uid: e.run?.uid ?? e.uid,
  phase,
});

export const toProcessInfo = (
  e: ExecEntry,
  q: { node: number; origin: number; moving: boolean; frozen: boolean },
): ProcessInfo => ({
  pid: e.pid,
  ppid: e.ppid,
  pgid: e.pgid,
  sid: e.sid,
  node: q.node,
  origin: q.origin,
  state: q.moving ? 'moving' : q.frozen ? 'frozen' : e.state,
  kind: e.kind ?? 'native',
  command: e.command,
  uid: e.uid,
  threads: e.tids.length + 1,
  rssBytes: e.rssBytes,
  cpuMs: e.cpuMs,
  hop: e.hop,
});
