// The heartbeat channel in memory: messages go where a shared carrier takes them.
import type { HeartbeatMessage } from '../messages.ts';
import type { Heartbeats } from '../ports.ts';

/** Takes a message from a node to another, late, twice or not at all. */
export type Carrier = (from: number, to: number, message: HeartbeatMessage) => void;

export interface FakeHeartbeats extends Heartbeats {
  deliver(message: HeartbeatMessage): void;
}

export function createFakeHeartbeats(num: number, carrier: Carrier): FakeHeartbeats {
  let handler: (message: HeartbeatMessage) => void = () => {};
  return {
    ports: { udp: 0, tcp: 0 },
    send: (to, message) => carrier(num, to, message),
    onMessage(h) {
      handler = h;
    },
    deliver: (message) => handler(message),
    setPeers: () => {},
    close: async () => {},
  };
}
