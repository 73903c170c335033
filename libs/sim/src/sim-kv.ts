// The Kv port against one simulated store on the broker's host. It can be away, forget what it
// acknowledged last (JetStream without sync), or lose everything. A lost answer is ETIMEDOUT: the write
// may have happened.
import { fail, ok, type Reply } from '@ssi/contracts';
import type { Kv, KvEntry } from '@ssi/ports';
import type { Life } from './life.ts';
import type { SimBus } from './sim-bus.ts';
import { brokerHost, type SimNet } from './sim-net.ts';

const timeoutMs = 2_000;

interface Watch {
  readonly key: string;
  readonly host: number;
  readonly tell: (entry: KvEntry) => void;
  /** Counts what was sent and says what came: an entry that was overtaken is left out. */
  sent: number;
  came: number;
}

/** What the server keeps; `entries` oldest first. */
export class SimStore {
  readonly #net: SimNet;
  readonly #bus: SimBus;
  readonly #watches = new Set<Watch>();
  #log: { readonly key: string; readonly entry: KvEntry }[] = [];
  #revision = 0;

  constructor(net: SimNet, bus: SimBus) {
    this.#net = net;
    this.#bus = bus;
  }

  /** The last `count` acknowledged writes are gone, as after a power cut. */
  forgetLast(count: number): void {
    this.#log.splice(Math.max(0, this.#log.length - count));
    this.#revision = this.#log.at(-1)?.entry.revision ?? 0;
  }

  /** An empty disk. */
  forgetAll(): void {
    this.forgetLast(this.#log.length);
  }

  newest(key: string): KvEntry | undefined {
    return this.#log.findLast((e) => e.key === key)?.entry;
  }

  client(host: number, life: Life): Kv {
    const watches = new Set<Watch>();
    life.onEnd(() => {
      for (const w of watches) this.#watches.delete(w);
    });
    return {
      get: (key) => this.#ask<KvEntry | undefined>(host, life, () => ok(this.newest(key))),
      compareAndSet: (key, value, expected) =>
        this.#ask(host, life, (): Reply<number, 'EAGAIN'> => {
          const present = this.newest(key)?.revision ?? 0;
          if (present !== expected)
            return fail('EAGAIN', `revision is ${present}, expected ${expected}`);
          return ok(this.#put(key, value.slice()).revision);
        }),
      watch: (key, onEntry) => {
        const tell = (entry: KvEntry): void => life.run(() => onEntry(entry));
        const watch: Watch = { key, host, tell, sent: 0, came: 0 };
        this.#watches.add(watch);
        watches.add(watch);
        const present = this.newest(key);
        if (present) this.#tell(watch, present);
        return {
          stop: () => {
            this.#watches.delete(watch);
            watches.delete(watch);
          },
        };
      },
      close: async () => {
        for (const w of watches) this.#watches.delete(w);
      },
    };
  }

  #put(key: string, value: Uint8Array): KvEntry {
    const entry = { value, revision: ++this.#revision };
    this.#log.push({ key, entry });
    for (const w of this.#watches) if (w.key === key) this.#tell(w, entry);
    return entry;
  }

  #tell(watch: Watch, entry: KvEntry): void {
    const number = ++watch.sent;
    this.#net.send(brokerHost, watch.host, () => {
      if (!this.#watches.has(watch) || !this.#bus.up || number <= watch.came) return;
      watch.came = number;
      watch.tell(entry);
    });
  }

  #ask<T, E extends 'EAGAIN' = never>(
    host: number,
    life: Life,
    serve: () => Reply<T, E>,
  ): Promise<Reply<T, E | 'ETIMEDOUT' | 'EHOSTUNREACH'>> {
    return new Promise((done) => {
      if (!life.alive) return;
      if (!this.#bus.up) {
        life.clock.after(1, () => done(fail('EHOSTUNREACH', 'the store is away')));
        return;
      }
      const timer = life.clock.after(timeoutMs, () => done(fail('ETIMEDOUT', 'no answer in time')));
      let served: Reply<T, E> | undefined;
      this.#net.send(host, brokerHost, () => {
        if (!this.#bus.up) return;
        // A repeated packet is one request: TCP does not repeat.
        served ??= serve();
        const answer = served;
        this.#net.send(brokerHost, host, () =>
          life.run(() => {
            timer.cancel();
            done(answer);
          }),
        );
      });
    });
  }
}
