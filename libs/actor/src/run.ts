// Runs an xstate machine the same way in production, in simulation and in tests: an event is one pure
// step, then its effects in order; time comes from the Clock port; nothing runs inside a step.
import type { Clock, Log } from '@ssi/ports';
import type {
  AnyMachineSnapshot,
  AnyStateMachine,
  EventFrom,
  InputFrom,
  SnapshotFrom,
} from 'xstate';
import { Inbox } from './inbox.ts';
import type { MachineSnapshotJson } from './snapshot.ts';
import { createStepper, type StepAction } from './step.ts';
import { type ArmedTimer, Timers } from './timers.ts';

/** A named action of the machine, to be performed by whoever runs it. */
export interface Effect {
  readonly type: string;
  readonly params: unknown;
}

export interface MachineOptions<M extends AnyStateMachine, E extends Effect = Effect> {
  /** Without invoke and spawn; its named actions are effects, its context is JSON. */
  readonly machine: M;
  readonly input: InputFrom<M>;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Called for each effect, in order, after the step that asked for it. Its throwing does not undo the
   * step. `send` is the machine's own, there also while the first state's effects are performed.
   */
  readonly perform: (effect: E, send: (event: EventFrom<M>) => boolean) => void;
  /** From an earlier run: goes on there, timers with the time they had left. */
  readonly snapshot?: MachineSnapshotJson;
  /**
   * Called with the snapshot after each step, before the step's effects. A machine whose step throws
   * is restarted from the last one; without `persist`, from the state before the step.
   */
  readonly persist?: (snapshot: MachineSnapshotJson) => void;
  /** Events that may wait; `send` refuses past it. Default 10,000. */
  readonly inboxMax?: number;
}

export interface RunningMachine<M extends AnyStateMachine> {
  /** False: not taken, the inbox is full or the machine has stopped. */
  send(event: EventFrom<M>): boolean;
  /** State, context and timers as JSON, for `snapshot` of a later run. */
  snapshot(): MachineSnapshotJson;
  state(): SnapshotFrom<M>;
  /** Cancels the timers and drops what waits. Idempotent. */
  stop(): void;
}

type Waiting = { event: { type: string } } | { timer: ArmedTimer };

export function runMachine<M extends AnyStateMachine, E extends Effect = Effect>(
  options: MachineOptions<M, E>,
): RunningMachine<M> {
  const { clock, log } = options;
  const stepper = createStepper(options.machine, options.input);
  const inbox = new Inbox<Waiting>(options.inboxMax ?? 10_000);
  const timers = new Timers(clock, (timer) => {
    inbox.push({ timer });
    run();
  });
  let nextTimer = 0;
  let running = false;
  let stopped = false;
  let current: AnyMachineSnapshot;
  let persisted: MachineSnapshotJson | undefined = options.snapshot;

  const toJson = (): MachineSnapshotJson => ({
    // A copy: an action that throws halfway may have spoiled what it was handed.
    machine: structuredClone(stepper.persist(current)),
    timers: timers.toJson(),
    nextTimer,
  });

  function load(json: MachineSnapshotJson): void {
    timers.cancelAll();
    current = stepper.restore(structuredClone(json.machine));
    nextTimer = json.nextTimer;
    for (const t of json.timers) timers.arm(t.id, t.event, t.remainingMs);
  }

  /** Timers at once, so that the persisted snapshot has them; the rest is handed back in order. */
  function armTimers(actions: readonly StepAction[]): StepAction[] {
    const effects: StepAction[] = [];
    for (const action of actions) {
      if (action.type === 'xstate.raise') {
        const p = action.params as { event: { type: string }; id?: string; delay?: number };
        if (typeof p.delay === 'number') timers.arm(p.id ?? `#${nextTimer++}`, p.event, p.delay);
      } else if (action.type === 'xstate.cancel') timers.cancel(action.params as string);
      else if (action.type.startsWith('xstate.'))
        log.error('machine uses what a flat machine may not', { action: action.type });
      else effects.push(action);
    }
    return effects;
  }

  function perform(effects: readonly StepAction[]): void {
    // What an effect sends waits until the effects before it are done.
    const wasRunning = running;
    running = true;
    for (const effect of effects) {
      if (stopped) break;
      try {
        options.perform(effect as unknown as E, send);
      } catch (error) {
        log.error('effect failed', { effect: effect.type, error: String(error) });
      }
    }
    running = wasRunning;
  }

  function step(event: { type: string }): void {
    let next: ReturnType<typeof stepper.step>;
    try {
      next = stepper.step(current, event);
    } catch (error) {
      log.error('step dropped: guard or action threw', {
        event,
        snapshot: toJson(),
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
      if (options.persist && persisted) load(persisted);
      return;
    }
    if (!next.handled) {
      log.warn('event not known in this state', { event: event.type, state: current.value });
      return;
    }
    current = next.snapshot;
    finish(next.actions);
  }

  function finish(actions: readonly StepAction[]): void {
    const effects = armTimers(actions);
    if (options.persist) {
      persisted = toJson();
      options.persist(persisted);
    }
    perform(effects);
  }

  function run(): void {
    if (running) return;
    running = true;
    for (let item = inbox.take(); item && !stopped; item = inbox.take()) {
      if ('event' in item) step(item.event);
      else if (timers.takeDue(item.timer)) step(item.timer.event);
    }
    running = false;
  }

  function send(event: EventFrom<M>): boolean {
    if (stopped || !inbox.offer({ event })) return false;
    run();
    return true;
  }

  if (options.snapshot) load(options.snapshot);
  else {
    const first = stepper.initial();
    current = first.snapshot;
    finish(first.actions);
    run();
  }

  return {
    send,
    snapshot: toJson,
    state: () => current as SnapshotFrom<M>,
    stop() {
      stopped = true;
      timers.cancelAll();
      inbox.clear();
    },
  };
}
