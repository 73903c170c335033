// An actor for tests: it notes what it is told, counts what is numbered and whatever of that is not the
// next number, tells it all, and rings once when asked to.
import { defineActor } from '@ssi/client';
import { assign, setup } from 'xstate';

export interface Notes {
  seen: string[];
  rang: number;
  /** Numbers counted, by sender: the next one that is due. */
  due: Record<string, number>;
  /** Numbers that were not due. */
  wrong: number;
}

const machine = setup({
  types: {
    context: {} as Notes,
    events: {} as
      | { type: 'note'; what: string }
      | { type: 'count'; name: string; n: number }
      | { type: 'tell' }
      | { type: 'ring'; afterMs: number }
      | { type: 'end' },
  },
  actions: { reply: (_, _value: number | object) => {}, rang: () => {} },
  delays: { RING: ({ event }) => (event.type === 'ring' ? event.afterMs : 0) },
}).createMachine({
  context: { seen: [], rang: 0, due: {}, wrong: 0 },
  initial: 'idle',
  on: {
    note: {
      actions: [
        assign({ seen: ({ context, event }) => [...context.seen, event.what] }),
        { type: 'reply', params: ({ context }) => context.seen.length },
      ],
    },
    count: {
      actions: [
        assign(({ context, event }) => ({
          wrong: context.wrong + (event.n === (context.due[event.name] ?? 0) ? 0 : 1),
          due: { ...context.due, [event.name]: event.n + 1 },
        })),
        { type: 'reply', params: ({ event }) => event.n },
      ],
    },
    tell: { actions: { type: 'reply', params: ({ context }) => context } },
    end: '.ended',
  },
  states: {
    idle: { on: { ring: 'waiting' } },
    waiting: {
      after: {
        RING: {
          target: 'idle',
          actions: [assign({ rang: ({ context }) => context.rang + 1 }), 'rang'],
        },
      },
    },
    ended: { type: 'final' },
  },
});

export const notes = defineActor({ type: 'notes', machine });
