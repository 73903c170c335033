// The bus as ICS sees it: frames go by the broker's host, which knows who listens and says so when
// nobody does. A client notices that the broker died, not that a cable was cut. [NATS: no responders]
import type { Endpoint } from '@ssi/contracts';
import type { Outgoing, Receiver, Transport, Via } from '@ssi/ics';
import type { Life } from './life.ts';
import { brokerHost, type SimNet } from './sim-net.ts';

interface Listener {
  /** As its replies are addressed. */
  readonly name: string;
  readonly life: Life;
  readonly host: number;
  readonly receiver: Receiver;
}

export class SimBus {
  readonly #net: SimNet;
  readonly #servers = new Map<string, Listener>();
  readonly #callers = new Map<string, Listener>();
  readonly #clients = new Set<Listener>();
  #up = true;

  constructor(net: SimNet) {
    this.#net = net;
  }

  get up(): boolean {
    return this.#up;
  }

  /** The broker stops: what is on its way is lost, connected clients learn of it. */
  stop(): void {
    this.#up = false;
    for (const c of this.#clients) c.life.run(() => c.receiver.broken('nats'));
  }

  /** It is back; clients reconnect one after the other. */
  start(): void {
    if (this.#up) return;
    this.#up = true;
    for (const c of this.#clients)
      this.#net.send(brokerHost, c.host, () => c.life.run(() => c.receiver.changed('nats')));
  }

  /** By the broker from one host to another: both ways must be open. */
  relay(from: number, to: number, arrive: () => void, load?: unknown): void {
    if (!this.#up) return;
    const pass = (): void => {
      if (this.#up) this.#net.send(brokerHost, to, arrive);
    };
    this.#net.send(from, brokerHost, pass, load);
  }

  transport(self: Endpoint, host: number, life: Life): Transport {
    const name = `${self.node}-${self.service}`;
    let me: Listener | undefined;
    const backTo = (caller: Endpoint): Via => this.#way(host, `${caller.node}-${caller.service}`);
    const leave = (): void => {
      if (!me) return;
      this.#clients.delete(me);
      if (this.#callers.get(name) === me) this.#callers.delete(name);
      for (const [key, l] of this.#servers) if (l === me) this.#servers.delete(key);
      me = undefined;
    };
    life.onEnd(leave);
    return {
      name: 'nats',
      guessMs: 0.4,
      mayDuplicate: true,
      open: (receiver) => {
        me = { name, life, host, receiver };
        this.#clients.add(me);
        this.#callers.set(name, me);
      },
      serve: (contract) => {
        if (me) this.#servers.set(`${self.node}/${contract}`, me);
      },
      ready: () => this.#up,
      absent: () => false,
      send: (out) => this.#call(me, out),
      backTo,
      close: async () => leave(),
    };
  }

  #call(from: Listener | undefined, out: Outgoing): void {
    if (!this.#up || !from?.life.alive) return;
    // Of a frame that the net doubles: whether somebody has it is certain with the first copy.
    let taken: boolean | undefined;
    this.#net.send(
      from.host,
      brokerHost,
      () => {
        if (!this.#up || taken === false) return;
        const server = this.#servers.get(`${out.to}/${out.contract}`);
        const first = taken === undefined;
        taken ??= server !== undefined;
        if (!server) {
          if (!first) return;
          this.#net.send(brokerHost, from.host, () =>
            from.life.run(() => from.receiver.unreachable('nats', out.tag)),
          );
          return;
        }
        const back = this.#way(server.host, from.name);
        this.#net.send(brokerHost, server.host, () =>
          server.life.run(() => server.receiver.frame(out.frame, back)),
        );
      },
      out.frame,
    );
  }

  /** Replies go to a name: whoever has it when they come to the broker. */
  #way(host: number, caller: string): Via {
    return {
      transport: 'nats',
      send: (frame) => {
        if (!this.#up) return false;
        this.#net.send(
          host,
          brokerHost,
          () => {
            const to = this.#up ? this.#callers.get(caller) : undefined;
            if (to)
              this.#net.send(brokerHost, to.host, () =>
                to.life.run(() => to.receiver.frame(frame, noWay)),
              );
          },
          frame,
        );
        return true;
      },
    };
  }
}

const noWay: Via = { transport: 'nats', send: () => false };
