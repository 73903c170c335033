// Standard streams outlive their program for a while, so that its output can still be read: they end when
// nobody holds them any more, and go when too many have ended.
import type { ExitStatus } from '@ssi/contracts';
import type { Attachments } from './attach.ts';
import type { ExecEntry } from './exec-table.ts';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';
import type { Moves } from './moves.ts';

/** Ended programs whose output is kept; the oldest goes first. */
const endedMax = 256;

export class Retention {
  private readonly node: LocalNode;
  private readonly local: LocalProcesses;
  private readonly moves: Moves;
  private readonly attachments: Attachments;
  /** False until the table is complete: until then nobody seems to hold anything. */
  private awake = false;
  private readonly open = new Set<number>();
  private readonly checking = new Set<number>();
  private readonly ended: number[] = [];

  constructor(q: {
    node: LocalNode;
    local: LocalProcesses;
    moves: Moves;
    attachments: Attachments;
  }) {
    this.node = q.node;
    this.local = q.local;
    this.moves = q.moves;
    this.attachments = q.attachments;
  }

  adopted(owners: readonly number[]): void {
    for (const owner of owners) this.open.add(owner);
  }
  gone(owner: number): void {
    this.open.delete(owner);
  }

  /** The table shows who is here: from now on it says whose streams nobody holds. */
  wake(): void {
    this.awake = true;
    this.look();
  }

  private heldOwners(): Set<number> {
    const held = new Set<number>();
    for (const e of this.local.table.values()) if (e.owner !== undefined) held.add(e.owner);
    return held;
  }

  /** After each change of the table: which streams has nobody any more? */
  look(): void {
    if (!this.awake) return;
    const held = this.heldOwners();
    for (const owner of held) this.open.add(owner);
    for (const owner of this.open)
      if (!held.has(owner) && !this.checking.has(owner)) void this.check(owner);
  }

  /** A child may be too young for the table: nobody is there only when one more scan says so. */
  private async check(owner: number): Promise<void> {
    this.checking.add(owner);
    await this.local.refresh();
    if (!this.heldOwners().has(owner)) await this.search(owner);
    this.checking.delete(owner);
    if (this.heldOwners().has(owner) || this.moves.of(owner)) return;
    if (this.open.delete(owner)) await this.end(owner);
  }

  /** A daemon that left its parent and its session before any scan saw it still writes here. */
  private async search(owner: number): Promise<void> {
    const { holders, streams } = this.node.deps.ports;
    const paths = streams.paths(owner);
    if (!holders || !paths) return;
    for (const ref of await holders.of(paths)) await this.local.own(ref, owner);
    await this.local.refresh();
  }

  private async end(owner: number): Promise<void> {
    const { streams } = this.node.deps.ports;
    await streams.endOutput(owner);
    this.ended.push(owner);
    while (this.ended.length > endedMax) {
      const oldest = this.ended.shift();
      if (oldest !== undefined) await streams.remove(oldest);
    }
  }

  /** The program itself ended; its descendants may write on. */
  async exited(entry: ExecEntry, status: ExitStatus): Promise<void> {
    if (entry.owner !== entry.pid) return;
    const { streams } = this.node.deps.ports;
    await this.check(entry.pid);
    if (this.open.has(entry.pid) && !this.moves.of(entry.pid)) {
      // All that it wrote is in the log before its end is told.
      await streams.pause(entry.pid);
      await streams.resume(entry.pid);
    }
    // A copy of a move in doubt was killed: maybe it goes on elsewhere.
    await this.moves.settled(entry.pid);
    if (this.moves.whereWent(entry.pid) === undefined) this.attachments.exited(entry.pid, status);
  }
}
