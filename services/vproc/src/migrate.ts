// The move protocol as decisions on records: what each side has promised at each phase, and so what a
// restarted vproc does next. A record is written before the step that it names is taken.
// [two-phase commit; the source decides, its record `committing` is the decision]
import type { Incarnation, MemberId, MoveProgram, MoveTask, StreamState } from '@ssi/contracts';

/**
 * Phases of the source's record.
 * dumping: the tree may be stopped; the target cannot run it yet.
 * doubt: the target was asked to restore: only its word, or its death, lets the source go on.
 * aborting: decided: the target must destroy its copy, then the source runs on.
 * committing: decided: the source's copy is only ever killed to the end.
 * committed: the source's copy is gone; the target is told until it answers.
 */
export type SourcePhase = 'dumping' | 'doubt' | 'aborting' | 'committing' | 'committed';

/**
 * Phases of the target's record.
 * restoring: criu may have made part of a copy, stopped.
 * prepared: a whole copy, stopped; only the source's word, or its death, decides.
 * resuming: decided: it runs, or will in a moment. resumed: it was set running.
 * destroying, aborted: there is, or will be, no copy.
 */
export type TargetPhase =
  | 'restoring'
  | 'prepared'
  | 'resuming'
  | 'resumed'
  | 'destroying'
  | 'aborted';

/** A process of the tree as its own side knows it. */
export interface CopyRef {
  readonly pid: number;
  readonly startTicks: number;
}

interface MoveRecord {
  readonly moveId: string;
  readonly root: number;
  readonly peer: MemberId;
  readonly tasks: readonly MoveTask[];
  /** Copies on this side, where they are known. */
  readonly copies: readonly CopyRef[];
  /** Owner of the streams that move, if any. */
  readonly owner?: number;
}
export interface SourceRecord extends MoveRecord {
  readonly side: 'source';
  readonly phase: SourcePhase;
  readonly stoppedBefore: readonly number[];
  /** The root's parent stays here, and gets a stub in its place. */
  readonly standIn?: boolean;
  /** Its memory goes after the decision: the stopped copy is killed when that has gone. */
  readonly postCopy?: boolean;
  /** Connected TCP is in the images. */
  readonly tcpEstablished?: boolean;
}
export interface TargetRecord extends MoveRecord {
  readonly side: 'target';
  /** This node's life when it was asked: what came with it ends with it. */
  readonly life?: Incarnation;
  readonly phase: TargetPhase;
  readonly streams: readonly StreamState[];
  readonly shellJob: boolean;
  readonly tcpEstablished?: boolean;
  /** criu was asked for a copy: there may be one, whole or not. */
  readonly tried?: boolean;
  readonly tty?: { readonly external: string; readonly rows: number; readonly cols: number };
  /** Started instead of a restore. */
  readonly program?: MoveProgram;
}

/** Where the source's machine enters after a restart. */
export const sourceEntry = {
  dumping: 'resuming',
  doubt: 'aborting',
  aborting: 'aborting',
  committing: 'committing',
  committed: 'committed',
} as const satisfies Record<SourcePhase, string>;

/** Where the target's machine enters after a restart; a half-made copy is made again from the images. */
export const targetEntry = {
  restoring: 'remaking',
  prepared: 'prepared',
  resuming: 'resuming',
  resumed: 'resumed',
  destroying: 'destroying',
  aborted: 'aborted',
} as const satisfies Record<TargetPhase, string>;

/** May the source's copy ever run again, by its record? */
export const sourceMayResume = (phase: SourcePhase): boolean =>
  phase !== 'committing' && phase !== 'committed';

/** Which side tells the table about the tree, and how. undefined: this side says nothing. */
export function sourceTells(phase: SourcePhase): 'live' | 'doubt' | undefined {
  if (phase === 'dumping') return 'live';
  return sourceMayResume(phase) ? 'doubt' : undefined;
}
export function targetTells(phase: TargetPhase): 'live' | 'doubt' | undefined {
  if (phase === 'resumed') return 'live';
  return phase === 'prepared' || phase === 'resuming' ? 'doubt' : undefined;
}

export const isMoveRecord = (r: unknown): r is SourceRecord | TargetRecord =>
  typeof r === 'object' && r !== null && 'side' in r && 'moveId' in r && 'phase' in r;
