// A register that is read and written, and compared and set.
import type { Model } from '../model.ts';

/** `object` names one of several registers; they are checked apart. Values are compared with `===`. */
export type RegisterInput<V> = { readonly object?: string } & (
  | { readonly op: 'read' }
  | { readonly op: 'write'; readonly value: V }
  /** Sets `value` where the register holds `expected`, and does nothing else. */
  | { readonly op: 'cas'; readonly expected: V; readonly value: V }
);

/** read: what it held. cas: whether it set. write: nothing. */
export interface RegisterOutput<V> {
  readonly value?: V;
  readonly set?: boolean;
}

type Value = string | number | boolean | null;

/** A compare-and-set register; without `cas` in the history it is a plain one. */
export function register<V extends Value>(init: V): Model<V, RegisterInput<V>, RegisterOutput<V>> {
  return {
    init,
    step(held, input, output) {
      if (input.op === 'read')
        return output === undefined || output.value === held ? held : undefined;
      if (input.op === 'write') return input.value;
      const set = held === input.expected;
      if (output !== undefined && output.set !== set) return undefined;
      return set ? input.value : held;
    },
    key: (held) => JSON.stringify(held),
    partition: ({ object }) => object ?? '',
    describe(input, output) {
      if (input.op === 'read') return `read → ${output ? JSON.stringify(output.value) : ''}`;
      if (input.op === 'write') return `write ${JSON.stringify(input.value)}`;
      const { expected, value } = input;
      const done = output ? (output.set ? ' → set' : ' → not set') : '';
      return `cas ${JSON.stringify(expected)} to ${JSON.stringify(value)}${done}`;
    },
  };
}
