// The actor of the simulated cluster: it runs numbered events and says each number that it ran.
import { defineActor } from '@ssi/client';
import { assign, setup } from 'xstate';

/** The `n`th event of one sender. */
export interface TallyEvent {
  readonly type: 'count';
  readonly name: string;
  readonly n: number;
}

const machine = setup({
  types: { context: {} as { counted: number }, events: {} as TallyEvent },
  actions: { reply: (_, _value: number) => {}, ran: (_, _event: TallyEvent) => {} },
}).createMachine({
  context: { counted: 0 },
  on: {
    count: {
      actions: [
        assign({ counted: ({ context }) => context.counted + 1 }),
        { type: 'ran', params: ({ event }) => event },
        { type: 'reply', params: ({ event }) => event.n },
      ],
    },
  },
});

export const tally = defineActor({ type: 'tally', machine });
