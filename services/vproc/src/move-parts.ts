// What both sides of every move on this node share.
import type { OriginEntry } from '@ssi/contracts';
import type { Holds } from './holds.ts';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';
import type { SourceRecord, TargetRecord } from './migrate.ts';
import type { Moves } from './moves.ts';
import type { Reporter } from './reporter.ts';
import type { Stubs } from './stubs.ts';

/** A record that cannot be written holds up the move: nothing is done that is not on record. */
const recordRetryMs = 200;

export class MoveParts {
  readonly node: LocalNode;
  readonly local: LocalProcesses;
  readonly moves: Moves;
  readonly holds: Holds;
  readonly reporter: Reporter;
  readonly stubs: Stubs;
  /** Clients attached to streams of this owner are told where it is now. */
  readonly streamsMoved: (owner: number, to: number) => void;
  /** To this node's own origin tables. */
  readonly applyHere: (entries: readonly OriginEntry[]) => void;

  constructor(q: {
    node: LocalNode;
    local: LocalProcesses;
    moves: Moves;
    holds: Holds;
    reporter: Reporter;
    stubs: Stubs;
    streamsMoved: (owner: number, to: number) => void;
    applyHere: (entries: readonly OriginEntry[]) => void;
  }) {
    this.node = q.node;
    this.local = q.local;
    this.moves = q.moves;
    this.holds = q.holds;
    this.reporter = q.reporter;
    this.stubs = q.stubs;
    this.streamsMoved = q.streamsMoved;
    this.applyHere = q.applyHere;
  }

  async writeRecord(record: SourceRecord | TargetRecord): Promise<void> {
    const { records } = this.node.deps.ports;
    for (;;) {
      const written = await records.write(record.moveId, record);
      if (written.ok || this.node.stopped) return;
      this.node.deps.log.error('move record not written', { ...written, move: record.moveId });
      await new Promise<void>((done) => {
        this.node.deps.clock.after(recordRetryMs, done);
      });
    }
  }
}
