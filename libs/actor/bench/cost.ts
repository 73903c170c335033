// Cost of one event: this runner, xstate's own actor and xstate's transition(), same machine, same run.
// node libs/actor/bench/cost.ts
import { type Clock, noLog } from '@ssi/ports';
import { assign, createActor, initialTransition, setup, transition } from 'xstate';
import { runMachine } from '../src/index.ts';

const machine = setup({
  types: { context: {} as { n: number }, events: {} as { type: 'go' | 'back' } },
  actions: { tell: (_, _p: { n: number }) => {} },
}).createMachine({
  context: { n: 0 },
  initial: 'a',
  states: {
    a: { on: { go: { target: 'b', actions: assign({ n: ({ context }) => context.n + 1 }) } } },
    b: {
      entry: { type: 'tell', params: ({ context }) => ({ n: context.n }) },
      on: { back: 'a' },
    },
  },
});
const clock: Clock = {
  nowMs: () => 0,
  wallMs: () => 0,
  after: () => ({ cancel: () => {} }),
};
const rounds = 100_000;

function perSecond(name: string, one: (type: 'go' | 'back') => void): void {
  for (let i = 0; i < 20_000; i++) one(i % 2 ? 'back' : 'go');
  const from = performance.now();
  for (let i = 0; i < rounds; i++) one(i % 2 ? 'back' : 'go');
  const ms = performance.now() - from;
  const micros = ((ms * 1000) / rounds).toFixed(1);
  console.log(`${name.padEnd(24)} ${Math.round(rounds / ms)} k events per s, ${micros} us each`);
}

let told = 0;
const mine = runMachine({ machine, input: undefined, clock, log: noLog, perform: () => told++ });
perSecond('runMachine', (type) => mine.send({ type }));
const theirs = createActor(machine).start();
perSecond('xstate actor.send', (type) => theirs.send({ type }));
let [snapshot] = initialTransition(machine);
perSecond('xstate transition()', (type) => {
  const [next, actions] = transition(machine, snapshot, { type });
  snapshot = next;
  told += actions.length;
});
