// Clients of an object that is linearizable by construction: each call takes effect at one moment
// between its invocation and its return, or its client never hears of it.
import fc from 'fast-check';
import type { HistoryEvent, Model } from '../src/index.ts';

/** What the model itself can't choose: which output an input has in a state. */
export type Execute<S, I, O> = (state: S, input: I) => O | undefined;

export interface Script<I> {
  readonly calls: readonly { readonly client: number; readonly input: I; readonly lost: number }[];
  /** Which open call makes its next step: begins, takes effect, returns. */
  readonly schedule: readonly number[];
}

export interface Sizes {
  readonly clients: number;
  readonly calls: number;
  /** What becomes of a call's answer, one of these. 0: heard of; 1: lost; 2: the call was lost. */
  readonly fates: readonly number[];
}
export const mostlyHeard = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
export const mostlyLost = [0, 1, 1, 2];

export const scriptOf = <I>(input: fc.Arbitrary<I>, sizes: Sizes) =>
  fc.record({
    calls: fc.array(
      fc.record({
        client: fc.nat({ max: sizes.clients - 1 }),
        input,
        lost: fc.constantFrom(...sizes.fates),
      }),
      { maxLength: sizes.calls },
    ),
    schedule: fc.array(fc.nat({ max: sizes.clients - 1 }), { maxLength: sizes.calls * 4 }),
  });

/** The history of it. A call that the object refuses (no output in this state) fails. */
export function run<S, I, O>(
  model: Model<S, I, O>,
  execute: Execute<S, I, O>,
  { calls, schedule }: Script<I>,
): HistoryEvent<I, O>[] {
  const history: HistoryEvent<I, O>[] = [];
  const queues = Map.groupBy(calls, ({ client }) => client);
  const clients = [...queues.keys()].sort();
  const at = new Map<number, { stage: number; output?: O | undefined }>();
  let state = model.init;
  const stepOf = (client: number): boolean => {
    const call = queues.get(client)?.[0];
    if (!call) return false;
    const now = at.get(client) ?? { stage: 0 };
    at.set(client, { ...now, stage: now.stage + 1 });
    if (now.stage === 0) history.push({ type: 'invoke', client, input: call.input });
    if (now.stage === 1 && call.lost !== 2) {
      const output = execute(state, call.input);
      at.set(client, { stage: 2, output });
      if (output !== undefined) {
        const after = model.step(state, call.input, output);
        if (after === undefined) throw new Error('the object did what its model forbids');
        state = after;
      }
    }
    if (now.stage < 2) return true;
    queues.get(client)?.shift();
    at.delete(client);
    if (call.lost) history.push({ type: 'info', client });
    else if (now.output === undefined) history.push({ type: 'fail', client });
    else history.push({ type: 'ok', client, output: now.output });
    return true;
  };
  for (const turn of schedule) stepOf(clients[turn % Math.max(1, clients.length)] ?? 0);
  while (clients.some(stepOf));
  return history;
}
