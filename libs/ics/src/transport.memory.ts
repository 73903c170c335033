// The memory transport: endpoints of one process on one MemoryBus. Used by services that are hosted
// together (they then do not cross the bus), by the embedded cluster, and by tests.
import type { Endpoint } from '@ssi/contracts';
import type { Outgoing, Receiver, Transport, Via } from './transport.ts';

const noWay: Via = { transport: 'memory', send: () => false };

/** Connects the memory transports of one process and one cluster. */
export class MemoryBus {
  readonly #servers = new Map<string, Receiver>();
  readonly #callers = new Map<string, { receiver: Receiver }>();
  readonly #watchers = new Set<Receiver>();

  /** What is served, as `node/contract`. */
  servers(): string[] {
    return [...this.#servers.keys()].sort();
  }

  /** The transport of one endpoint. */
  transport(self: Endpoint): Transport {
    const served = new Set<string>();
    const me = `${self.node}-${self.service}`;
    let receiver: Receiver | undefined;
    const backTo = (caller: Endpoint): Via | undefined => {
      const key = `${caller.node}-${caller.service}`;
      if (!this.#callers.has(key)) return undefined;
      return { transport: 'memory', to: caller, send: (frame) => this.#deliver(key, frame) };
    };
    return {
      name: 'memory',
      guessMs: 0.01,
      mayDuplicate: false,
      open: (r) => {
        receiver = r;
        this.#watchers.add(r);
        this.#callers.set(me, { receiver: r });
      },
      serve: (contract) => {
        if (!receiver) throw new Error('serve before open');
        const key = `${self.node}/${contract}`;
        served.add(key);
        this.#servers.set(key, receiver);
        this.#changed();
      },
      ready: (node, contract) => this.#servers.has(`${node}/${contract}`),
      absent: (node, contract) => !this.#servers.has(`${node}/${contract}`),
      send: (out: Outgoing) => {
        const from = receiver;
        queueMicrotask(() => {
          if (from === undefined || receiver !== from) return;
          const server = this.#servers.get(`${out.to}/${out.contract}`);
          if (!server) from.unreachable('memory', out.tag);
          else server.frame(out.frame, backTo(self) ?? noWay);
        });
      },
      backTo,
      close: async () => {
        const gone = receiver;
        receiver = undefined;
        if (!gone) return;
        this.#watchers.delete(gone);
        if (this.#callers.get(me)?.receiver === gone) this.#callers.delete(me);
        for (const key of served) if (this.#servers.get(key) === gone) this.#servers.delete(key);
        this.#changed();
      },
    };
  }

  #deliver(key: string, frame: Uint8Array): boolean {
    const caller = this.#callers.get(key);
    if (!caller) return false;
    queueMicrotask(() => {
      if (this.#callers.get(key) !== caller) return;
      caller.receiver.frame(frame, noWay);
    });
    return true;
  }

  #changed(): void {
    for (const watcher of this.#watchers) queueMicrotask(() => watcher.changed('memory'));
  }
}
