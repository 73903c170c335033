// The processes that execute here, kept current by scans and by the guard's word of each end. What vproc
// alone knows of a process (its hops, its birth) is also on tmpfs, so that a restart finds it again.
import type { ExitStatus, OriginEntry, Reply } from '@ssi/contracts';
import { birthTicks, isActorRef } from './actors.ts';
import { untilDone } from './backoff.ts';
import {
  applyScan,
  type ExecEntry,
  type Identity,
  type RunTraits,
  type ScanDiff,
  toOriginEntry,
} from './exec-table.ts';
import type { LocalNode } from './local-node.ts';
import { bornNumber } from './pid.ts';
import type { ExitRecord, ProcessRef } from './ports.ts';
import { remember } from './process-table.ts';

/** A fork is in the table after one interval and one scan: within 200 ms. */
const scanMs = 100;
/** Ends kept for a census; the oldest goes first. */
const exitsMax = 4_096;
/** Ends of processes nobody knows (yet): `run` learns of a short-lived program only after its end. */
const strangersMax = 1_024;
/** Ends kept over a restart; the oldest goes first. */
const storedEndsMax = 512;
/** What stands in for a process that no scan saw. */
const unknown = {
  ppid: 0,
  tids: [],
  state: 'running',
  command: '',
  uid: 0,
  rssBytes: 0,
  cpuMs: 0,
} as const;
/** The guard writes an end before it reaps; following its file takes ms. */
const exitLineMs = 400;

interface StoredIdentity extends ProcessRef, Identity {
  /** It ended, and nobody has waited for it yet. */
  readonly ended?: OriginEntry;
  /** Written before the program was started: who has the number then is it. */
  readonly intended?: true;
}
const stateKey = (pid: number): string => pid.toString(16).padStart(32, '0');
const refKey = (r: ProcessRef): string => `${r.pid}:${r.startTicks}`;

export interface LocalChanges {
  /** Entries that are new or differ; `ended` among them as phase `exited`. */
  readonly changed: readonly OriginEntry[];
  /** Vanished, and only their own parent knows how. */
  readonly gone: readonly number[];
}

export class LocalProcesses {
  table: ReadonlyMap<number, ExecEntry> = new Map();
  /** Ends of processes that executed here, newest last. */
  readonly exits = new Map<number, OriginEntry>();
  private readonly node: LocalNode;
  private readonly onChanges: (changes: LocalChanges) => void;
  private readonly onEnd: (entry: ExecEntry, status: ExitStatus) => void;
  private readonly identities = new Map<string, StoredIdentity>();
  /** Copies that count for nothing here: those of a target before its commit, of a source after it. */
  private readonly hidden = new Set<number>();
  private readonly strangers = new Map<string, ExitStatus>();
  private readonly storedEnds = new Set<number>();
  private readonly endsOnDisk = new Set<number>();
  /** Ends that were told. */
  private readonly reported = new Set<string>();
  /** No longer in /proc, and the guard has not said how they ended. */
  private readonly vanished = new Map<string, ExecEntry>();
  private known = false;
  private readonly loaded = Promise.withResolvers<void>();
  private scanning: Promise<void> | undefined;
  private rescan: Promise<void> | undefined;

  constructor(
    node: LocalNode,
    onChanges: (changes: LocalChanges) => void,
    onEnd: (entry: ExecEntry, status: ExitStatus) => void,
  ) {
    this.node = node;
    this.onChanges = onChanges;
    this.onEnd = onEnd;
  }

  /** After a start: what is recorded, who is there, who ended. Then scans go on by themselves. */
  async start(): Promise<void> {
    const { ports } = this.node.deps;
    const stored = await untilDone(this.node, 'state', () => ports.state.list());
    const intended: StoredIdentity[] = [];
    for (const { record } of stored) {
      const id = record as StoredIdentity;
      if (typeof id.pid !== 'number') continue;
      if (id.ended) this.keepEnd(id, id.ended);
      else if (id.intended) intended.push(id);
      else this.identities.set(refKey(id), id);
    }
    for (const id of intended) await this.recognise(id);
    this.known = true;
    this.loaded.resolve();
    await this.refresh();
    ports.processes.followExits(undefined, (records) => this.ended(records));
    this.loop();
  }

  /** This service died while it started a program: either the program is there, or it never was. */
  private async recognise(id: StoredIdentity): Promise<void> {
    const { intended: _, ...rest } = id;
    const seen = await this.node.deps.ports.processes.inspect(id.pid);
    if (seen?.sid === id.pid) await this.identify(seen, { ...rest, born: this.bornHere(seen) });
    else await this.withdraw(id.pid);
  }

  private loop(): void {
    this.node.deps.clock.after(scanMs, () => {
      if (this.node.stopped) return;
      void this.refresh().then(() => this.loop());
    });
  }

  /** Scans now: everything that was there when this was called is in the table when it resolves. */
  refresh(): Promise<void> {
    // Before what is on record is known again, every process would look as if it had just been born.
    if (!this.known) return this.loaded.promise.then(() => this.refresh());
    if (!this.scanning) {
      this.scanning = this.scan().finally(() => {
        this.scanning = undefined;
      });
      return this.scanning;
    }
    // A scan under way may have passed by already: one more after it, shared by all who ask meanwhile.
    this.rescan ??= this.scanning.then(() => {
      this.rescan = undefined;
      return this.refresh();
    });
    return this.rescan;
  }

  private async scan(): Promise<void> {
    const found = await this.node.deps.ports.processes.scan();
    if (!found.ok || this.node.stopped) return;
    const visible = found.value.filter(
      (p) => !this.hidden.has(p.pid) && !this.reported.has(refKey(p)),
    );
    const diff = applyScan(this.table, visible, {
      identify: (ref) => this.identities.get(refKey(ref)),
      bornHere: (ref) => this.bornHere(ref),
      isOwner: (pid) => this.node.deps.ports.streams.paths(pid) !== undefined,
    });
    this.table = await this.ownersFound(diff);
    const gone: number[] = [];
    for (const e of diff.gone) {
      this.forget(e);
      if (this.hidden.has(e.pid) || this.reported.has(refKey(e)) || diff.table.has(e.pid)) continue;
      // A living parent took its end; an orphan's the guard tells, but its line may still be on the way.
      if (diff.table.has(e.ppid)) gone.push(e.pid);
      else this.await(e);
    }
    if (diff.changed.length + gone.length === 0) return;
    this.onChanges({
      changed: diff.changed.map((e) => toOriginEntry(e, this.node.num)),
      gone,
    });
  }

  /** Who lost its parent before any scan saw the two together: its descriptors say whose streams it holds. */
  private async ownersFound(diff: ScanDiff): Promise<ReadonlyMap<number, ExecEntry>> {
    const { holders } = this.node.deps.ports;
    const table = new Map(diff.table);
    for (const e of diff.changed) {
      if (!holders || e.owner !== undefined || e.kind === 'actor') continue;
      if (this.table.get(e.pid)?.startTicks === e.startTicks) continue;
      const owner = await holders.ownerOf(e.pid);
      if (owner !== undefined) table.set(e.pid, { ...e, owner });
    }
    return table;
  }

  private await(entry: ExecEntry): void {
    this.vanished.set(refKey(entry), entry);
    this.node.deps.clock.after(exitLineMs, () => {
      if (!this.vanished.delete(refKey(entry)) || this.node.stopped) return;
      if (!this.table.has(entry.pid)) this.onChanges({ changed: [], gone: [entry.pid] });
    });
  }

  private ended(records: readonly ExitRecord[]): void {
    const changed: OriginEntry[] = [];
    for (const r of records) {
      if (this.hidden.has(r.pid) || this.reported.has(refKey(r))) continue;
      const entry = this.vanished.get(refKey(r)) ?? this.table.get(r.pid);
      this.vanished.delete(refKey(r));
      const stored = this.identities.get(refKey(r));
      if (entry?.startTicks === r.startTicks) changed.push(this.end(entry, r.status));
      else if (stored)
        // It ended while this service was away.
        changed.push(this.end({ ...unknown, ...stored, pgid: r.pid, sid: r.pid }, r.status));
      else {
        this.strangers.set(refKey(r), r.status);
        for (const oldest of this.strangers.keys()) {
          if (this.strangers.size <= strangersMax) break;
          this.strangers.delete(oldest);
        }
      }
    }
    if (changed.length > 0) this.onChanges({ changed, gone: [] });
  }

  private end(entry: ExecEntry, status: ExitStatus): OriginEntry {
    const exited: OriginEntry = {
      ...toOriginEntry(entry, this.node.num, 'exited'),
      exit: status,
    };
    if (this.table.get(entry.pid)?.startTicks === entry.startTicks) {
      const table = new Map(this.table);
      table.delete(entry.pid);
      this.table = table;
    }
    this.keepEnd(entry, exited);
    const stored = this.identities.get(refKey(entry));
    if (stored) this.storeEnd(stored, exited);
    this.onEnd(entry, status);
    return exited;
  }

  /** From now on nobody under this reference lives: an actor's host may still speak of it. */
  private keepEnd(ref: ProcessRef, exited: OriginEntry): void {
    remember(this.reported, refKey(ref), exitsMax);
    this.exits.delete(exited.pid);
    this.exits.set(exited.pid, exited);
    for (const oldest of this.exits.keys()) {
      if (this.exits.size <= exitsMax) break;
      this.exits.delete(oldest);
    }
  }
  /** Kept over a restart until somebody waits for it. */
  private storeEnd(stored: StoredIdentity, ended: OriginEntry): void {
    this.identities.delete(refKey(stored));
    remember(this.storedEnds, stored.pid, storedEndsMax);
    void this.node.deps.ports.state.write(stateKey(stored.pid), { ...stored, ended });
    for (const pid of this.endsOnDisk) {
      if (this.storedEnds.has(pid)) continue;
      this.endsOnDisk.delete(pid);
      void this.node.deps.ports.state.remove(stateKey(pid));
    }
    this.endsOnDisk.add(stored.pid);
  }
  /** Somebody waited for it: it is not told again. */
  reaped(pid: number): void {
    if (this.exits.delete(pid) && !this.table.has(pid))
      void this.node.deps.ports.state.remove(stateKey(pid));
  }

  /**
   * A process that vproc itself started or let in: known at once, also if it ended already. `known`
   * stands in for what /proc no longer tells.
   */
  async admit(ref: ProcessRef, id: Identity, known: Partial<ExecEntry>): Promise<void> {
    await this.identify(ref, id);
    const seen = await this.node.deps.ports.processes.inspect(ref.pid);
    const entry: ExecEntry = {
      ...unknown,
      pgid: ref.pid,
      sid: ref.pid,
      ...known,
      ...(seen?.startTicks === ref.startTicks ? seen : {}),
      ...ref,
      ...id,
    };
    // Its end was heard of, and told, since its identity was known.
    if (this.reported.has(refKey(ref))) return;
    this.exits.delete(ref.pid);
    this.table = new Map(this.table).set(ref.pid, entry);
    const stranger = this.strangers.get(refKey(ref));
    this.strangers.delete(refKey(ref));
    const told = stranger ? this.end(entry, stranger) : toOriginEntry(entry, this.node.num);
    this.onChanges({ changed: [told], gone: [] });
  }

  /** Records what a scan cannot tell, before anybody sees the process. */
  identify(ref: ProcessRef, id: Identity): Promise<Reply<undefined, 'ENOSPC' | 'EIO'>> {
    const stored: StoredIdentity = { ...id, pid: ref.pid, startTicks: ref.startTicks };
    this.identities.set(refKey(ref), stored);
    return this.node.deps.ports.state.write(stateKey(ref.pid), stored);
  }

  /** Right before a program is started under this number; `identify` or `withdraw` follows. */
  async intend(pid: number, id: Omit<Identity, 'born'>): Promise<void> {
    const stored: StoredIdentity = { ...id, born: 0, pid, startTicks: 0, intended: true };
    await this.node.deps.ports.state.write(stateKey(pid), stored);
  }
  async withdraw(pid: number): Promise<void> {
    await this.node.deps.ports.state.remove(stateKey(pid));
  }

  /** It holds the streams of `owner`, as its descriptors say. */
  async own(ref: ProcessRef, owner: number): Promise<void> {
    const entry = this.table.get(ref.pid);
    if (entry?.startTicks !== ref.startTicks) return;
    const { hop, born, run } = entry;
    await this.identify(ref, { hop, born, owner, ...(run ? { run } : {}) });
  }

  forget(ref: ProcessRef): void {
    if (this.identities.delete(refKey(ref)))
      void this.node.deps.ports.state.remove(stateKey(ref.pid));
  }

  /** From now on the scans pass over these numbers, and their ends are nobody's news. */
  hide(pids: readonly number[]): void {
    const table = new Map(this.table);
    for (const pid of pids) {
      this.hidden.add(pid);
      const entry = table.get(pid);
      if (entry) this.forget(entry);
      table.delete(pid);
    }
    this.table = table;
  }
  show(pids: readonly number[]): void {
    for (const pid of pids) this.hidden.delete(pid);
  }
  /** They came by a move: an end on record here was that of a copy, or of an older user of the number. */
  arrived(pids: readonly number[]): void {
    this.show(pids);
    for (const pid of pids) this.exits.delete(pid);
  }
  /** The copy is dead: what is on record of it goes, the numbers may return. */
  isHidden(pid: number): boolean {
    return this.hidden.has(pid);
  }

  /** The same whoever sees it first, a scan or who started it: else its moves would look like an older user's. */
  bornHere(ref: ProcessRef): number {
    const ticks = isActorRef(ref) ? birthTicks(ref.startTicks) : ref.startTicks;
    return bornNumber(this.node.self?.incarnation.bootCount ?? 0, ticks);
  }

  traits(pid: number): RunTraits | undefined {
    return this.table.get(pid)?.run;
  }
}
