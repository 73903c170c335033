// Life of the channel to one node: opening until the other router answered, up, flushing while nodedown
// drops what was queued, down until the node is a member again. [OpenSSI ICS: channel states]
import type { channelState } from '@ssi/contracts';
import { setup } from 'xstate';
import type { z } from 'zod';

export type ChannelState = z.infer<typeof channelState>;

export type ChannelEvent =
  /** The view has a life of this node that may be talked to. */
  | { type: 'nodeup' }
  /** Its router answered. */
  | { type: 'pong' }
  /** The view, or the nodedown step, says that its life is over. */
  | { type: 'nodedown' }
  /** Entries dropped, local services told. */
  | { type: 'flushed' };

export const channelMachine = setup({
  types: {
    context: {} as { node: number },
    events: {} as ChannelEvent,
    input: {} as { node: number },
  },
  actions: {
    /** Effect: drop the entries of this node and tell the services; then `flushed`. */
    flush: () => {},
  },
}).createMachine({
  id: 'channel',
  context: ({ input }) => ({ node: input.node }),
  initial: 'opening',
  states: {
    opening: { on: { pong: 'up', nodedown: 'flushing' } },
    up: { on: { nodedown: 'flushing' } },
    flushing: { entry: 'flush', on: { flushed: 'down' } },
    down: { on: { nodeup: 'opening' } },
  },
});
