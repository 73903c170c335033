// What an actor is made of: a name that is the same on every node, an xstate machine, and the functions
// that do its effects. The machine is pure: its named actions are effects, its context is JSON, its
// delays run on the cluster's clock and move with it.
import type { AnyStateMachine, EventFrom, InputFrom } from 'xstate';

/** What an effect function is told of the actor that asked for it. */
export interface ActorSelf {
  readonly pid: number;
  readonly type: string;
  /** Node it executes on. */
  readonly node: number;
  /** An event to itself. False: it has ended, is stopped or has moved: what came of the effect is lost. */
  send(event: { readonly type: string }): boolean;
}

/** Does one effect, after the step that asked for it. What it throws, or rejects with, is logged. */
export type ActorEffect = (params: unknown, self: ActorSelf) => void | Promise<void>;

export interface ActorDefinition<M extends AnyStateMachine = AnyStateMachine> {
  /** [A-Za-z][A-Za-z0-9._-]*, 64 characters at most. */
  readonly type: string;
  /** Without invoke and spawn. An action `reply` with params answers the ask that the step takes. */
  readonly machine: M;
}

export type ActorEvents<D extends ActorDefinition> = EventFrom<D['machine']>;
export type ActorInput<D extends ActorDefinition> = InputFrom<D['machine']>;

/** A running actor of the cluster. The pid is good on every node, for life. */
export interface ActorRef<D extends ActorDefinition = ActorDefinition> {
  readonly pid: number;
  readonly type: D['type'];
}

export const defineActor = <M extends AnyStateMachine>(q: {
  type: string;
  machine: M;
}): ActorDefinition<M> => {
  if (!/^[A-Za-z][A-Za-z0-9._-]{0,63}$/.test(q.type))
    throw new Error(`not an actor type: ${JSON.stringify(q.type)}`);
  return q;
};
