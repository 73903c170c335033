// One step of a machine as a function: (snapshot, event) -> (snapshot, actions). This is what xstate's
// transition() does, but with one scope kept for the machine's life: transition() builds an actor and a
// system for every event, which is most of its cost.
import assert from 'node:assert/strict';
import {
  type ActorScope,
  type AnyActorScope,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  type AnyStateNode,
  createActor,
  type EventObject,
} from 'xstate';

export interface StepAction {
  readonly type: string;
  readonly params: unknown;
}

export interface Stepper {
  initial(): { snapshot: AnyMachineSnapshot; actions: StepAction[] };
  restore(persisted: unknown): AnyMachineSnapshot;
  persist(snapshot: AnyMachineSnapshot): unknown;
  /** Throws what a guard or an action throws; `snapshot` is untouched then. */
  step(
    snapshot: AnyMachineSnapshot,
    event: EventObject,
  ): { snapshot: AnyMachineSnapshot; actions: StepAction[]; handled: boolean };
}

export function createStepper(machine: AnyStateMachine, input: unknown): Stepper {
  assertFlat(machine.root);
  let actions: StepAction[] = [];
  // Never started: it only gives actions their `self` and `system`, which pure machines don't use.
  const self = createActor(machine, { input });
  const scope: AnyActorScope = {
    self,
    id: machine.id,
    sessionId: machine.id,
    system: self.system,
    logger: () => {},
    defer: () => {},
    stopChild: () => {},
    emit: () => {},
    actionExecutor: (action) => {
      actions.push({ type: action.type, params: action.params });
    },
  } as ActorScope<AnyMachineSnapshot, EventObject> as AnyActorScope;

  return {
    initial() {
      actions = [];
      const snapshot = machine.getInitialSnapshot(scope, input);
      if (snapshot.status === 'error') throw snapshot.error;
      return { snapshot, actions };
    },
    restore: (persisted) => machine.restoreSnapshot(persisted as never, scope),
    persist: (snapshot) => machine.getPersistedSnapshot(snapshot),
    step(snapshot, event) {
      actions = [];
      const next = machine.transition(snapshot, event, scope);
      const handled =
        next !== snapshot ||
        actions.length > 0 ||
        // The same snapshot and nothing to do: nobody knew the event, or a transition forbids it.
        machine.getTransitionData(snapshot, event).length > 0;
      return { snapshot: next, actions, handled };
    },
  };
}

/** No invoke: another actor is its subject, and its service calls it. */
function assertFlat(node: AnyStateNode): void {
  assert(node.invoke.length === 0, `state ${node.id} invokes: machines here are flat`);
  for (const child of Object.values(node.states)) assertFlat(child);
}
