// What every node's instance does, director or not: it keeps the table, has programs of its node use the cluster's
// addresses, and tells the director who listens here.
import {
  type ClientFlow,
  emptyTable,
  fail,
  type Listener,
  newerVersion,
  ok,
  type Reply,
  type TableVersion,
} from '@ssi/contracts';
import type { Log } from '@ssi/ports';
import type { Addresses, Kept, Sockets, TableStore } from './ports.ts';

const nothing: Kept = { version: { epoch: 0, counter: 0 }, table: emptyTable };

export interface InstanceDeps {
  readonly store: TableStore;
  readonly addresses: Addresses;
  readonly sockets: Sockets;
  readonly log: Log;
}

export class Instance {
  readonly #q: InstanceDeps;
  #kept: Kept = nothing;
  /** Nothing of an older director is kept any more. */
  #promised = 0;
  #shared = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(q: InstanceDeps) {
    this.#q = q;
  }

  get kept(): Kept {
    return this.#kept;
  }

  async load(): Promise<void> {
    this.#kept = (await this.#q.store.load()) ?? nothing;
    await this.share();
  }

  /** One after the other: what is on disk is what was kept last. */
  keep(next: Kept): Promise<Reply<Record<string, never>, 'ESTALE' | 'EIO'>> {
    const done = this.#last.then(async () => {
      const { version } = this.#kept;
      if (next.version.epoch < this.#promised || newerVersion(version, next.version))
        return fail('ESTALE', `${versionText(version)} is kept here`);
      if (newerVersion(next.version, version)) {
        const saved = await this.#q.store.save(next);
        if (!saved.ok) return saved;
        this.#kept = next;
        this.#shared = false;
      }
      await this.share();
      return ok({});
    });
    this.#last = done;
    return done;
  }

  /** Again where it could not be done: the node's network may be on its way. */
  async share(): Promise<void> {
    if (this.#shared) return;
    const done = await this.#q.addresses.share(this.#kept.table.addresses);
    this.#shared = done.ok;
    if (!done.ok) this.#q.log.warn('cluster addresses not shared', { detail: done.detail });
  }

  promise(epoch: number): void {
    this.#promised = Math.max(this.#promised, epoch);
  }

  listeners(): Listener[] {
    const { addresses, ports } = this.#kept.table;
    if (ports.length === 0) return [];
    return this.#q.sockets
      .listeners(addresses)
      .filter((l) =>
        ports.some((r) => r.protocol === l.protocol && l.port >= r.start && l.port <= r.end),
      );
  }
  flows(): ClientFlow[] {
    const { addresses } = this.#kept.table;
    return addresses.length === 0 ? [] : [...this.#q.sockets.flows(addresses)];
  }
}

export const versionText = (v: TableVersion): string => `${v.epoch}.${v.counter}`;
