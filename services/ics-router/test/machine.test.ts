// The life of a channel.
import { expect, test } from 'vitest';
import { initialTransition, transition } from 'xstate';
import { type ChannelEvent, channelMachine } from '../src/machine.ts';

function after(...events: ChannelEvent['type'][]): { state: unknown; effects: string[] } {
  let [snapshot] = initialTransition(channelMachine, { node: 2 });
  const effects: string[] = [];
  for (const type of events) {
    const [next, actions] = transition(channelMachine, snapshot, { type });
    snapshot = next;
    effects.push(...actions.map((a) => a.type));
  }
  return { state: snapshot.value, effects };
}

test('ICS: channel: opening -> up on the first answer', () => {
  expect(after()).toEqual({ state: 'opening', effects: [] });
  expect(after('pong')).toEqual({ state: 'up', effects: [] });
});

test('ICS: channel: nodedown flushes once, from opening and from up', () => {
  expect(after('nodedown')).toEqual({ state: 'flushing', effects: ['flush'] });
  expect(after('pong', 'nodedown', 'nodedown')).toEqual({ state: 'flushing', effects: ['flush'] });
});

test('ICS: channel: an answer or a new life does not end a flush', () => {
  expect(after('pong', 'nodedown', 'pong', 'nodeup').state).toBe('flushing');
  expect(after('pong', 'nodedown', 'flushed').state).toBe('down');
  expect(after('pong', 'nodedown', 'flushed', 'pong').state).toBe('down');
  expect(after('pong', 'nodedown', 'flushed', 'nodeup').state).toBe('opening');
});
