// Named points at which a test may stop the world: before and after each step of a move. In production
// they do nothing; main.ts arms them only when SSI_FAILPOINTS says so.
export const failpoints = [
  'move.source.negotiated',
  'move.source.dumping',
  'move.source.dumped',
  'move.source.doubt',
  'move.source.prepared',
  'move.source.committing',
  'move.source.killed',
  'move.source.committed',
  'move.source.resumed',
  'move.source.aborting',
  'move.source.rollback',
  'move.target.reserved',
  'move.target.received',
  'move.target.restoring',
  'move.target.restored',
  'move.target.prepared',
  'move.target.resuming',
  'move.target.running',
  'move.target.resumed',
  'move.target.destroying',
  'run.spawned',
] as const;
export type FailpointName = (typeof failpoints)[number];
/** Reached only where a move fails. */
export const rollbackPoints: readonly FailpointName[] = [
  'move.source.aborting',
  'move.source.rollback',
  'move.target.destroying',
];
/** Reached only when the source has decided: the process is the target's. */
export const decidedPoints: readonly FailpointName[] = [
  'move.source.committing',
  'move.source.killed',
  'move.source.committed',
  'move.source.resumed',
  'move.target.resuming',
  'move.target.running',
  'move.target.resumed',
];

/** Called at each point; what it returns is awaited. Default: nothing. */
export type Failpoint = (name: FailpointName) => Promise<void>;

export const noFailpoint: Failpoint = () => Promise.resolve();
