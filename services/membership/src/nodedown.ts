// The ordered steps after a nodedown: ICS flush, DLM, CFS, IPC, vproc, user script. Each step is
// acknowledged by every UP node before the next begins; a further death starts again at the first step
// for the union of the dead. Plain data; the master's service makes the calls. [OpenSSI CLMS]
import { type MemberId, type NodedownStep, nodedownSteps, sameIncarnation } from '@ssi/contracts';

export interface Cleanup {
  /** Grows with each restart: answers to an older round are not counted. */
  readonly round: number;
  readonly dead: readonly MemberId[];
  /** Index into nodedownSteps; its length: done. */
  readonly step: number;
  readonly startedMs: number;
  /** Nodes that have not acknowledged this step, ascending. */
  readonly waitingFor: readonly number[];
}

export const stepName = (c: Cleanup): NodedownStep | undefined => nodedownSteps[c.step];
export const isDone = (c: Cleanup): boolean => c.step >= nodedownSteps.length;

/** Begins, or begins anew with more dead. `nodes`: who must acknowledge. */
export function begin(
  before: Cleanup | undefined,
  dead: readonly MemberId[],
  nodes: readonly number[],
  nowMs: number,
): Cleanup {
  const known = before && !isDone(before) ? before.dead : [];
  const added = dead.filter(
    (d) => !known.some((k) => k.num === d.num && sameIncarnation(k.incarnation, d.incarnation)),
  );
  return {
    round: (before?.round ?? 0) + 1,
    dead: [...known, ...added].sort((a, b) => a.num - b.num),
    step: 0,
    startedMs: nowMs,
    waitingFor: [...nodes].sort((a, b) => a - b),
  };
}

/** A node's acknowledgement; the last one of a step begins the next. */
export function acknowledged(
  c: Cleanup,
  q: { round: number; step: NodedownStep; num: number },
  nodes: readonly number[],
  nowMs: number,
): Cleanup {
  if (q.round !== c.round || q.step !== stepName(c)) return c;
  const waitingFor = c.waitingFor.filter((n) => n !== q.num);
  if (waitingFor.length > 0) return { ...c, waitingFor };
  return {
    ...c,
    step: c.step + 1,
    startedMs: nowMs,
    waitingFor: [...nodes].sort((a, b) => a - b),
  };
}

/** Nodes that let the deadline of the step pass: to be declared DOWN themselves. */
export const overdue = (c: Cleanup, nowMs: number, stepMs: number): readonly number[] =>
  !isDone(c) && nowMs - c.startedMs >= stepMs ? c.waitingFor : [];
