// A concurrent history: what clients invoked and what came back, in one real-time order of events
// [Herlihy & Wing 1990, 2.1], and the operations it consists of. An operation whose outcome nobody
// knows (a timeout, a dead client) may take effect at any time after its invocation, or never.
import assert from 'node:assert/strict';

export type ClientId = string | number;

/** Events in the order in which they happened; the order is all the time there is. */
export type HistoryEvent<I, O> =
  | { readonly type: 'invoke'; readonly client: ClientId; readonly input: I }
  /** It took effect, and this is what it returned. */
  | { readonly type: 'ok'; readonly client: ClientId; readonly output: O }
  /** It certainly did not take effect, nor will it. */
  | { readonly type: 'fail'; readonly client: ClientId }
  /** Nobody knows. The client may invoke again; this operation stays open for ever. */
  | { readonly type: 'info'; readonly client: ClientId };

export interface Operation<I, O> {
  /** Counts invocations from 0. */
  readonly id: number;
  readonly client: ClientId;
  readonly input: I;
  /** Undefined where the outcome is unknown. */
  readonly output: O | undefined;
  readonly outcome: 'ok' | 'unknown';
  /** Index of its invocation in the history. */
  readonly invokedAt: number;
  /** Index of the event it returned with; Infinity where the outcome is unknown. */
  readonly returnedAt: number;
}

/**
 * The operations of a history, in order of invocation, without those that failed. A client has one
 * operation open at a time: a history that says otherwise is a bug of who recorded it, and throws.
 */
export function operationsOf<I, O>(history: readonly HistoryEvent<I, O>[]): Operation<I, O>[] {
  const open = new Map<ClientId, Operation<I, O>>();
  const operations = new Map<number, Operation<I, O>>();
  history.forEach((event, at) => {
    const mine = open.get(event.client);
    if (event.type === 'invoke') {
      assert(!mine, `event ${at}: client ${event.client} invokes while it waits for another call`);
      const { client, input } = event;
      const unknown = { output: undefined, outcome: 'unknown', returnedAt: Infinity } as const;
      const operation = { id: operations.size, client, input, invokedAt: at, ...unknown };
      open.set(client, operation);
      operations.set(at, operation);
      return;
    }
    assert(mine, `event ${at}: ${event.type} for client ${event.client}, which invoked nothing`);
    open.delete(event.client);
    if (event.type === 'fail') operations.set(mine.invokedAt, { ...mine, returnedAt: at });
    if (event.type === 'ok') {
      const { output } = event;
      operations.set(mine.invokedAt, { ...mine, output, outcome: 'ok', returnedAt: at });
    }
  });
  const failed = (o: Operation<I, O>) => o.outcome === 'unknown' && o.returnedAt !== Infinity;
  return [...operations.values()].filter((operation) => !failed(operation));
}
