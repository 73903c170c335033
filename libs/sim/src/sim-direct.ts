// Direct connections as ICS sees them: to where the node map puts a service, to that life of it only.
// A dead peer refuses at once; a peer that died takes its connections along, and both ends learn it.
import type { ServiceEndpoint } from '@ssi/contracts';
import type { Receiver, Transport, Via } from '@ssi/ics';
import type { Life } from './life.ts';
import type { SimNet } from './sim-net.ts';

/** A transport that listens, and is told where the others do. */
export interface DirectTransport extends Transport {
  readonly port: number;
  setMap(map: readonly ServiceEndpoint[]): void;
}

interface Listener {
  readonly life: Life;
  readonly host: number;
  receiver: Receiver | undefined;
  /** Called when this end is gone: who was connected learns of it. */
  readonly onGone: Set<() => void>;
}

export class SimDirect {
  readonly #net: SimNet;
  readonly #listeners = new Map<number, Listener>();
  #nextPort = 1_000;

  constructor(net: SimNet) {
    this.#net = net;
  }

  transport(host: number, life: Life): DirectTransport {
    const port = this.#nextPort++;
    const me: Listener = { life, host, receiver: undefined, onGone: new Set() };
    const ports = new Map<string, number>();
    const connected = new Set<number>();
    const leave = (): void => {
      this.#listeners.delete(port);
      for (const gone of [...me.onGone]) gone();
      me.onGone.clear();
      me.receiver = undefined;
    };
    life.onEnd(leave);
    return {
      name: 'tcp',
      guessMs: 0.05,
      mayDuplicate: true,
      port,
      open: (receiver) => {
        me.receiver = receiver;
        this.#listeners.set(port, me);
      },
      serve: () => {},
      ready: (node, contract) => ports.has(`${node}/${contract}`),
      absent: (node, contract) => !ports.has(`${node}/${contract}`),
      send: (out) => {
        const key = `${out.to}/${out.contract}`;
        const to = ports.get(key);
        const refused = (): void => life.run(() => me.receiver?.unreachable('tcp', out.tag));
        if (to === undefined || !life.alive) {
          queueMicrotask(refused);
          return;
        }
        let taken: boolean | undefined;
        this.#net.send(host, out.to, () => {
          if (taken === false) return;
          const peer = this.#listeners.get(to);
          const first = taken === undefined;
          taken ??= peer?.receiver !== undefined;
          if (!peer?.receiver) {
            if (!first) return;
            this.#net.send(out.to, host, refused);
            return;
          }
          if (!connected.has(to)) {
            connected.add(to);
            peer.onGone.add(() => {
              connected.delete(to);
              this.#net.send(out.to, host, () =>
                life.run(() =>
                  me.receiver?.broken('tcp', { node: out.to, contract: out.contract }),
                ),
              );
            });
          }
          peer.life.run(() => peer.receiver?.frame(out.frame, this.#wayBack(peer, me)));
        });
      },
      backTo: () => undefined,
      setMap: (map) => {
        ports.clear();
        for (const e of map) {
          const at = e.tcp[0];
          if (at) ports.set(`${e.node}/${e.service}`, at.port);
        }
        queueMicrotask(() => life.run(() => me.receiver?.changed('tcp')));
      },
      close: async () => leave(),
    };
  }

  #wayBack(from: Listener, to: Listener): Via {
    return {
      transport: 'tcp',
      send: (frame) => {
        if (!to.receiver) return false;
        this.#net.send(from.host, to.host, () =>
          to.life.run(() => to.receiver?.frame(frame, noWay)),
        );
        return true;
      },
    };
  }
}

const noWay: Via = { transport: 'tcp', send: () => false };
