// The search: depth first over configurations (which event is next, which open operations have taken
// effect, the state), each visited once. Wing & Gong's algorithm with Lowe's two improvements: visited
// configurations are remembered, and an operation takes effect only when an event needs it to
// ("just in time"), so that the search never looks past the first event that can't be explained.
// [Wing & Gong 1993; Lowe 2017, Testing for linearizability]
import { serialize } from 'node:v8';
import type { Operation } from './history.ts';
import type { Model } from './model.ts';

/** A linearization, newest first. */
interface Order<I, O> {
  readonly operation: Operation<I, O>;
  readonly before: Order<I, O> | undefined;
}

/** Where the search could not go on: an order that explains all events before, and the state it led to. */
export interface Attempt<S, I, O> {
  readonly order: readonly Operation<I, O>[];
  readonly state: S;
  /** Open operations that had not taken effect in it, and don't fit its state. */
  readonly refused: readonly Operation<I, O>[];
}

export type Found<S, I, O> = { readonly configurations: number } & (
  | { readonly outcome: 'ok'; readonly order: readonly Operation<I, O>[] }
  | {
      readonly outcome: 'not-linearizable';
      /** The operation whose return can't be explained. */
      readonly stuck: Operation<I, O>;
      readonly attempts: readonly Attempt<S, I, O>[];
    }
  | { readonly outcome: 'gave-up' }
);

/** One return event, and who may take effect before it. */
interface Return<I, O> {
  readonly operation: Operation<I, O>;
  /** Those that will return, itself first: each must take effect before its own return. */
  readonly open: readonly Operation<I, O>[];
  /** How many of those of unknown outcome were invoked before: each may take effect. */
  readonly unknownCount: number;
}

interface Configuration<S, I, O> {
  readonly next: number;
  /** Operations in effect that have not returned yet, one bit for each slot. */
  readonly effective: bigint;
  /** Operations of unknown outcome in effect, one bit for each. */
  readonly maybe: bigint;
  readonly state: S;
  readonly order: Order<I, O> | undefined;
}

const attemptsMax = 3;

export function search<S, I, O>(
  model: Model<S, I, O>,
  operations: readonly Operation<I, O>[],
  configurationsMax: number,
): Found<S, I, O> {
  const returns = returnsOf(operations);
  const unknown = operations.filter(({ outcome }) => outcome === 'unknown');
  const bit = bitsOf(operations);
  const alike = twins(operations);
  const visited: Map<string, bigint[]>[] = returns.map(() => new Map());
  const stack: Configuration<S, I, O>[] = [
    { next: 0, effective: 0n, maybe: 0n, state: model.init, order: undefined },
  ];
  let configurations = 0;
  let furthest = -1;
  let ends: { at: Configuration<S, I, O>; refused: readonly Operation<I, O>[] }[] = [];

  for (;;) {
    const top = stack.pop();
    if (!top) break;
    const here = skipReturned(top, returns, bit);
    const at = returns[here.next];
    if (!at) return { outcome: 'ok', order: list(here.order), configurations };
    if (!isNew(visited[here.next], here, model)) continue;
    configurations += 1;
    if (configurations > configurationsMax) return { outcome: 'gave-up', configurations };

    const refused: Operation<I, O>[] = [];
    const onward: Configuration<S, I, O>[] = [];
    const order = (operation: Operation<I, O>) => ({ operation, before: here.order });
    for (const operation of at.open) {
      const mask = bit(operation);
      if (here.effective & mask) continue;
      const state = model.step(here.state, operation.input, operation.output);
      if (state === undefined) refused.push(operation);
      else
        onward.push({
          ...{ next: here.next, effective: here.effective | mask, maybe: here.maybe },
          ...{ state, order: order(operation) },
        });
    }
    const tried = new Set<number>();
    for (const operation of unknown.slice(0, at.unknownCount)) {
      const mask = bit(operation);
      const kind = alike(operation);
      if (here.maybe & mask || tried.has(kind)) continue;
      tried.add(kind);
      const state = model.step(here.state, operation.input, undefined);
      if (state === undefined) refused.push(operation);
      // One that changes nothing may as well not happen.
      else if (model.key(state) !== model.key(here.state))
        onward.push({
          ...{ next: here.next, effective: here.effective, maybe: here.maybe | mask },
          ...{ state, order: order(operation) },
        });
    }
    if (refused.includes(at.operation) && here.next >= furthest) {
      if (here.next > furthest) ends = [];
      furthest = here.next;
      if (ends.length < attemptsMax) ends.push({ at: here, refused });
    }
    // The last is taken first: begin with the operation whose return is next.
    stack.push(...onward.reverse());
  }
  const stuck = returns[furthest]?.operation;
  if (!stuck) throw new Error('a search that ended without a way had no return to stop at');
  const attempts = ends.map(({ at, refused }) => {
    return { order: list(at.order), state: at.state, refused };
  });
  return { outcome: 'not-linearizable', stuck, attempts, configurations };
}

/** Returns of operations that are in effect need nothing more. */
function skipReturned<S, I, O>(
  from: Configuration<S, I, O>,
  returns: readonly Return<I, O>[],
  bit: (operation: Operation<I, O>) => bigint,
): Configuration<S, I, O> {
  let { next, effective } = from;
  for (; ; next += 1) {
    const at = returns[next];
    const mask = at ? bit(at.operation) : 0n;
    if (!(effective & mask)) break;
    effective ^= mask;
  }
  return { ...from, next, effective };
}

/**
 * False if this configuration, or one that can do all it can, was visited: the same but for fewer
 * operations of unknown outcome used up.
 */
function isNew<S, I, O>(
  seen: Map<string, bigint[]> | undefined,
  { effective, maybe, state }: Configuration<S, I, O>,
  model: Model<S, I, O>,
): boolean {
  const key = `${effective.toString(36)} ${model.key(state)}`;
  const used = seen?.get(key) ?? [];
  if (used.some((less) => (less & maybe) === less)) return false;
  seen?.set(key, [...used.filter((more) => (more & maybe) !== maybe), maybe]);
  return true;
}

function returnsOf<I, O>(operations: readonly Operation<I, O>[]): Return<I, O>[] {
  const known = operations.filter(({ outcome }) => outcome === 'ok');
  const inOrder = known.toSorted((a, b) => a.returnedAt - b.returnedAt);
  const unknown = operations.filter(({ outcome }) => outcome === 'unknown');
  let invoked: Operation<I, O>[] = [];
  let seen = 0;
  let unknownCount = 0;
  return inOrder.map((operation) => {
    for (; (known[seen]?.invokedAt ?? Infinity) < operation.returnedAt; seen += 1)
      invoked.push(known[seen] as Operation<I, O>);
    const others = invoked.filter((other) => other !== operation);
    others.sort((a, b) => a.returnedAt - b.returnedAt);
    invoked = others;
    while ((unknown[unknownCount]?.invokedAt ?? Infinity) < operation.returnedAt) unknownCount += 1;
    return { operation, open: [operation, ...others], unknownCount };
  });
}

/** A bit for each operation; that of one that returned is used again by a later one. */
function bitsOf<I, O>(operations: readonly Operation<I, O>[]): (o: Operation<I, O>) => bigint {
  const bits = new Map<Operation<I, O>, bigint>();
  /** When the operation that holds a slot returned. */
  const slots: number[] = [];
  let maybe = 0n;
  for (const operation of operations) {
    if (operation.outcome === 'unknown') {
      bits.set(operation, 1n << maybe);
      maybe += 1n;
      continue;
    }
    const free = slots.findIndex((until) => until < operation.invokedAt);
    const slot = free < 0 ? slots.length : free;
    slots[slot] = operation.returnedAt;
    bits.set(operation, 1n << BigInt(slot));
  }
  return (operation) => bits.get(operation) ?? 0n;
}

/** Operations of unknown outcome with equal inputs have one number: which of them happened is all one. */
function twins<I, O>(operations: readonly Operation<I, O>[]): (o: Operation<I, O>) => number {
  const numbers = new Map<string, number>();
  const kinds = new Map<Operation<I, O>, number>();
  for (const operation of operations) {
    if (operation.outcome === 'ok') continue;
    const text = serialize(operation.input).toString('latin1');
    const kind = numbers.get(text) ?? numbers.size;
    numbers.set(text, kind);
    kinds.set(operation, kind);
  }
  return (operation) => kinds.get(operation) ?? -1;
}

function list<I, O>(order: Order<I, O> | undefined): Operation<I, O>[] {
  const operations: Operation<I, O>[] = [];
  for (let at = order; at; at = at.before) operations.push(at.operation);
  return operations.reverse();
}
