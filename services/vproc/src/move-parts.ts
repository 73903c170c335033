// What both sides of every move on this node share.
import type { OriginEntry, Reply } from '@ssi/contracts';
import { untilDone } from './backoff.ts';
import type { Holds } from './holds.ts';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';
import type { MoveFailure } from './machine.ts';
import type { SourceRecord, TargetRecord } from './migrate.ts';
import type { Moves } from './moves.ts';
import type { Reporter } from './reporter.ts';
import type { Stubs } from './stubs.ts';

export type RecordReply = Reply<undefined, 'ENOSPC' | 'EIO'>;

/** Why a move ends that could not be put on record: no room, or a tmpfs that fails. */
export const unwritten = (reply: { errno: string; detail: string }): MoveFailure => ({
  errno: reply.errno === 'ENOSPC' ? 'ENOSPC' : 'ECANCELED',
  detail: `the move's record was not written: ${reply.detail}`,
});

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

  /** A step that must not be taken without its record is not taken when this fails. */
  async writeRecord(record: SourceRecord | TargetRecord): Promise<RecordReply> {
    const written = await this.node.deps.ports.records.write(record.moveId, record);
    if (!written.ok)
      this.node.deps.log.error('move record not written', {
        ...{ errno: written.errno, detail: written.detail },
        ...{ move: record.moveId, phase: record.phase },
      });
    return written;
  }
  /** Forgets the images: nothing waits for that. */
  removeImages(moveId: string): void {
    void untilDone(this.node, 'images', () => this.node.deps.ports.images.remove(moveId));
  }
  /** Awaited before the move is over: the owner may come back with new streams after it. */
  async removeStreams(owner: number): Promise<void> {
    await untilDone(this.node, 'streams', () => this.node.deps.ports.streams.remove(owner));
  }
}
