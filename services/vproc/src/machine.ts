// Life of one move, one machine for each side. Pure: effects are named here and done by move-source.ts
// and move-target.ts; each effect writes the record of its phase first, does the step, and answers with
// one event. What may be resumed, destroyed or killed when is decided here and in migrate.ts only.
import { setup } from 'xstate';

/** An effect: named here, done by whoever runs the machine. */
const effect = () => {};

/** Why a move ended without the tree having moved. */
export interface MoveFailure {
  errno: string;
  detail: string;
}

export type SourceEvent =
  | { type: 'negotiated' }
  | { type: 'refused'; failure: MoveFailure }
  | { type: 'dumped' }
  | { type: 'dumpFailed'; failure: MoveFailure }
  | { type: 'prepared' }
  /** The target says that it has no copy. */
  | { type: 'restoreRefused'; failure: MoveFailure }
  /** No word from the target, or none that decides. */
  | { type: 'unsure'; failure: MoveFailure }
  | { type: 'confirmed' }
  /** The decision could not be put on record: it was not taken. */
  | { type: 'undecided'; failure: MoveFailure }
  | { type: 'killed' }
  | { type: 'targetResumed' }
  | { type: 'targetDestroyed' }
  /** The target says that it runs its copy: there may be no other. */
  | { type: 'targetRuns' }
  | { type: 'runsHere' }
  /** The view shows the target's incarnation DOWN (or no longer shows it). */
  | { type: 'peerDown' };

export interface SourceContext {
  start: SourceStart;
  failure: MoveFailure | null;
  /** True from the request to restore: the copy at the target may exist. */
  doubt: boolean;
}

const keep = ({ event }: { event: SourceEvent }) =>
  'failure' in event ? event.failure : { errno: 'EHOSTDOWN', detail: 'the target went down' };

/** Where the machine starts: `negotiating` for a new move, else by the record (migrate.ts). */
export type SourceStart = 'negotiating' | 'resuming' | 'aborting' | 'committing' | 'committed';

const interrupted: MoveFailure = {
  errno: 'ECANCELED',
  detail: 'the service restarted during the move',
};

const sourceSetup = setup({
  types: {
    context: {} as SourceContext,
    events: {} as SourceEvent,
    input: {} as { start: SourceStart },
  },
  actions: {
    negotiate: effect,
    dump: effect,
    restore: effect,
    confirm: effect,
    commit: effect,
    tellCommit: effect,
    abort: effect,
    resume: effect,
    finish: effect,
  },
});
const rolledBack = sourceSetup.assign({ failure: keep });

export const moveSourceMachine = sourceSetup.createMachine({
  id: 'moveSource',
  context: ({ input }) => ({
    start: input.start,
    failure: input.start === 'aborting' || input.start === 'resuming' ? interrupted : null,
    doubt: input.start === 'aborting',
  }),
  initial: 'start',
  states: {
    start: {
      always: [
        { guard: ({ context }) => context.start === 'resuming', target: 'resuming' },
        { guard: ({ context }) => context.start === 'aborting', target: 'aborting' },
        { guard: ({ context }) => context.start === 'committing', target: 'committing' },
        { guard: ({ context }) => context.start === 'committed', target: 'committed' },
        { target: 'negotiating' },
      ],
    },
    negotiating: {
      entry: 'negotiate',
      on: {
        negotiated: 'dumping',
        refused: { target: 'refused', actions: rolledBack },
        peerDown: { target: 'refused', actions: rolledBack },
      },
    },
    /** The tree is stopped and written; nobody else can run it. A failed dump has let it run on. */
    dumping: {
      entry: 'dump',
      on: {
        dumped: 'restoring',
        dumpFailed: { target: 'resuming', actions: rolledBack },
        peerDown: {},
      },
    },
    /** In doubt from here. */
    restoring: {
      entry: [sourceSetup.assign({ doubt: true }), 'restore'],
      on: {
        prepared: 'confirming',
        restoreRefused: { target: 'aborting', actions: rolledBack },
        unsure: { target: 'aborting', actions: rolledBack },
        peerDown: { target: 'resuming', actions: rolledBack },
      },
    },
    confirming: {
      entry: 'confirm',
      on: {
        confirmed: 'committing',
        unsure: { target: 'aborting', actions: rolledBack },
        peerDown: { target: 'resuming', actions: rolledBack },
      },
    },
    /** The decision: once it is on record no way back, whatever happens to the target. */
    committing: {
      entry: 'commit',
      on: {
        killed: 'committed',
        undecided: { target: 'aborting', actions: rolledBack },
        peerDown: {},
      },
    },
    committed: {
      entry: 'tellCommit',
      on: {
        targetResumed: 'done',
        peerDown: { target: 'lost', actions: rolledBack },
      },
    },
    /** Only the target's word that its copy is destroyed, or its death, leads out. */
    aborting: {
      entry: 'abort',
      on: {
        targetDestroyed: 'resuming',
        peerDown: 'resuming',
        targetRuns: 'committing',
      },
    },
    resuming: { entry: 'resume', on: { runsHere: 'rolledBack', peerDown: {} } },
    done: { type: 'final', entry: 'finish' },
    lost: { type: 'final', entry: 'finish' },
    refused: { type: 'final', entry: 'finish' },
    rolledBack: { type: 'final', entry: 'finish' },
  },
});

export type TargetEvent =
  /** The source asks for the restore; all images are here. */
  | { type: 'restore' }
  | { type: 'restored' }
  | { type: 'restoreFailed'; failure: MoveFailure }
  /** The source's copy is dead. */
  | { type: 'commit' }
  /** By the source's word; or for a reason of its own while it has no copy. */
  | { type: 'abort'; failure?: MoveFailure }
  | { type: 'destroyed' }
  | { type: 'running' }
  /** The view shows the source's incarnation DOWN (or no longer shows it). */
  | { type: 'peerDown' };

export interface TargetContext {
  start: TargetStart;
  failure: MoveFailure | null;
  /** The source went down while the copy was being made. */
  alone: boolean;
  /** The source gave up while the copy was being made. */
  unwanted: boolean;
}
export type TargetStart =
  | 'reserved'
  | 'remaking'
  | 'prepared'
  | 'resuming'
  | 'resumed'
  | 'destroying'
  | 'aborted';

const targetSetup = setup({
  types: {
    context: {} as TargetContext,
    events: {} as TargetEvent,
    input: {} as { start: TargetStart },
  },
  actions: {
    restore: effect,
    remake: effect,
    hold: effect,
    run: effect,
    ran: effect,
    destroy: effect,
    forget: effect,
  },
});

const failed = targetSetup.assign({
  failure: ({ event }) => ('failure' in event ? (event.failure ?? null) : null),
});

export const moveTargetMachine = targetSetup.createMachine({
  id: 'moveTarget',
  context: ({ input }) => ({ start: input.start, failure: null, alone: false, unwanted: false }),
  initial: 'start',
  states: {
    start: {
      always: [
        { guard: ({ context }) => context.start === 'remaking', target: 'remaking' },
        { guard: ({ context }) => context.start === 'prepared', target: 'prepared' },
        { guard: ({ context }) => context.start === 'resuming', target: 'resuming' },
        { guard: ({ context }) => context.start === 'resumed', target: 'resumed' },
        { guard: ({ context }) => context.start === 'destroying', target: 'destroying' },
        { guard: ({ context }) => context.start === 'aborted', target: 'aborted' },
        { target: 'reserved' },
      ],
    },
    /** Numbers and room are kept, images come in; no copy yet, so nothing is lost by forgetting it. */
    reserved: {
      on: {
        restore: 'restoring',
        abort: { target: 'destroying', actions: failed },
        peerDown: 'destroying',
      },
    },
    restoring: { entry: 'restore', on: making() },
    /** A restart found a half-made copy: away with it, and again from the images. */
    remaking: { entry: 'remake', on: making() },
    made: {
      always: [
        { guard: ({ context }) => context.unwanted, target: 'destroying' },
        { guard: ({ context }) => context.alone, target: 'resuming' },
        { target: 'prepared' },
      ],
    },
    /** In doubt: stopped until the source, or the view, decides. */
    prepared: {
      entry: 'hold',
      on: {
        commit: 'resuming',
        peerDown: 'resuming',
        abort: 'destroying',
        restoreFailed: { target: 'destroying', actions: failed },
      },
    },
    resuming: { entry: 'run', on: { running: 'resumed', peerDown: {}, commit: {} } },
    /** Kept to answer a repeated commit, until the source is heard to have finished. */
    resumed: { entry: 'ran', on: { peerDown: {}, commit: {} } },
    destroying: { entry: 'destroy', on: { destroyed: 'aborted', abort: {}, peerDown: {} } },
    aborted: { entry: 'forget', on: { abort: {}, peerDown: {} } },
  },
});

/** While criu works no word of the source can be followed at once: it is kept. */
function making() {
  return {
    restored: 'made',
    restoreFailed: { target: 'destroying', actions: failed },
    abort: { actions: targetSetup.assign({ unwanted: true }) },
    peerDown: { actions: targetSetup.assign({ alone: true }) },
  } as const;
}
