// Datagrams between nodes by two ways at once, direct and by the bus: the first copy counts. What the
// heartbeat channel of membership rests on.
import type { Life } from './life.ts';
import type { SimBus } from './sim-bus.ts';
import type { SimNet } from './sim-net.ts';

export interface DatagramPort<M> {
  send(to: number, message: M): void;
  onMessage(handler: (message: M) => void): void;
  close(): Promise<void>;
}

interface Receiver<M> {
  readonly life: Life;
  handler: ((message: M) => void) | undefined;
}

export class SimDatagrams<M> {
  readonly #net: SimNet;
  readonly #bus: SimBus;
  readonly #receivers = new Map<number, Receiver<M>>();

  constructor(net: SimNet, bus: SimBus) {
    this.#net = net;
    this.#bus = bus;
  }

  /** The channel of node `num` as one life of its service has it. */
  port(num: number, life: Life): DatagramPort<M> {
    const me: Receiver<M> = { life, handler: undefined };
    this.#receivers.set(num, me);
    const leave = (): void => {
      if (this.#receivers.get(num) === me) this.#receivers.delete(num);
    };
    life.onEnd(leave);
    return {
      send: (to, message) => {
        if (!life.alive) return;
        let arrived = false;
        const arrive = (): void => {
          const peer = arrived ? undefined : this.#receivers.get(to);
          if (!peer) return;
          arrived = true;
          peer.life.run(() => peer.handler?.(message));
        };
        this.#net.send(num, to, arrive, message);
        this.#bus.relay(num, to, arrive, message);
      },
      onMessage: (handler) => {
        me.handler = handler;
      },
      close: async () => leave(),
    };
  }
}
