// The active instance: takes the table over from what all nodes kept, has the packets go by it, holds the cluster's
// addresses, and hands every change on to be kept. One thing after the other.
import {
  type ClientFlow,
  fail,
  findMember,
  type Listener,
  lvs,
  newerVersion,
  ok,
  type Reply,
  type ReplyOf,
  type TableChange,
  type TableVersion,
  upMembers,
  type View,
} from '@ssi/contracts';
import type { Clock, Ics, Log, Random } from '@ssi/ports';
import { changed } from './changes.ts';
import { type Health, startHealth } from './checks/health.ts';
import { type Instance, versionText } from './instance.ts';
import { goesByLoad, Planner } from './plan.ts';
import { type Pools, poolsOf, thereOf } from './pools.ts';
import type { Addresses, Connections, DataPlane, Kept, Prober, ServedFlow } from './ports.ts';

/** Nodes that have not told what they keep by then are gone, or will be told. */
const askMs = 400;
const keepMs = 2_000;

export interface DirectorDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly instance: Instance;
  readonly plane: DataPlane;
  readonly addresses: Addresses;
  readonly prober: Prober;
  readonly view: () => View | undefined;
  /** The epoch in which this instance may serve now. */
  readonly epoch: () => number | undefined;
}

type Change = ReplyOf<typeof lvs.ops.change>;
type ChangeErrno = (typeof lvs.ops.change)['errnos'][number];

export class Director {
  readonly #q: DirectorDeps;
  readonly #planner: Planner;
  readonly #listeners = new Map<number, readonly Listener[]>();
  #health: Health | undefined;
  #epoch: number | undefined;
  #pools: Pools = { services: [], out: {} };
  #fault: string | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #planAgain = false;

  constructor(q: DirectorDeps) {
    this.#q = q;
    this.#planner = new Planner(q.random);
  }

  /** It has taken over and may still serve. */
  get serves(): boolean {
    return this.#epoch !== undefined && this.#q.epoch() === this.#epoch;
  }
  get pools(): Pools {
    return this.#pools;
  }
  get fault(): string | undefined {
    return this.#fault;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch((error) => this.#q.log.error('director', { detail: String(error) }));
    return done;
  }

  /** An epoch begins. Packets go where they belong before the address is here. */
  begin(epoch: number): Promise<void> {
    return this.#inTurn(async () => {
      const { instance, log, ics } = this.#q;
      if (this.#q.epoch() !== epoch) return;
      instance.promise(epoch);
      const flows = await this.#gather(epoch);
      this.#startHealth();
      const applied = await this.#apply(instance.kept, flows);
      if (!applied.ok) log.error('packets do not go by the table', { detail: applied.detail });
      if (this.#q.epoch() !== epoch) return;
      const held = await this.#q.addresses.hold(instance.kept.table.addresses);
      if (!held.ok) log.error('addresses not held', { detail: held.detail });
      // Lost meanwhile: whoever ended it found nothing to release yet.
      if (this.#q.epoch() !== epoch) return void (await this.#q.addresses.release());
      this.#epoch = epoch;
      log.info('directing', { epoch, node: ics.self.node, flows: flows.length });
      await this.#keep({ version: { epoch, counter: 0 }, table: instance.kept.table });
    });
  }

  /** It may serve no more. `forGood`: another one is to, so that nothing is left here. */
  end(forGood: boolean): Promise<boolean> {
    this.#epoch = undefined;
    // At once, whatever is in work: at most one node answers for an address.
    const released = this.#q.addresses.release();
    return this.#inTurn(async () => {
      const first = await released;
      await this.#health?.stop();
      this.#health = undefined;
      const again = await this.#q.addresses.release();
      const cleared = forGood ? await this.#q.plane.clear() : ok();
      for (const done of [first, again, cleared])
        if (!done.ok) this.#q.log.warn('not ended', { detail: done.detail });
      return again.ok && cleared.ok;
    });
  }

  change(changes: readonly TableChange[]): Promise<Reply<Change, ChangeErrno>> {
    return this.#inTurn(async () => {
      if (!this.serves) return fail('EAGAIN', 'this node may not direct now; ask again');
      const before = this.#q.instance.kept;
      const next = changed(before.table, changes, this.#q.view());
      if (!next.ok) return next;
      for (const address of next.value.addresses) {
        if (before.table.addresses.includes(address)) continue;
        const free = await this.#q.addresses.isFree(address);
        if (!free.ok) return free;
      }
      const { version } = before;
      const kept = {
        version: { epoch: this.#epoch ?? version.epoch, counter: version.counter + 1 },
        table: next.value,
      };
      const applied = await this.#apply(kept);
      if (!applied.ok) {
        await this.#apply(before);
        return applied;
      }
      const saved = await this.#keep(kept);
      if (!saved.ok) return saved;
      if (!this.serves)
        return fail('EIO', 'another node directs now; whether it has this is seen by: ssi lvs ls');
      const held = await this.#q.addresses.hold(kept.table.addresses);
      return held.ok ? ok({ version: kept.version }) : held;
    });
  }

  report(node: number, q: { version: TableVersion; listeners: readonly Listener[] }): void {
    if (!this.serves) return;
    const was = JSON.stringify(this.#listeners.get(node) ?? []);
    this.#listeners.set(node, q.listeners);
    if (was !== JSON.stringify(q.listeners)) this.plan();
    const { kept } = this.#q.instance;
    if (node !== this.#q.ics.self.node && newerVersion(kept.version, q.version))
      void this.#q.ics.call(lvs, 'keep', node, kept, { timeoutMs: keepMs });
  }

  /** Soon, once for whatever comes until then. */
  plan(): void {
    if (this.#planAgain) return;
    this.#planAgain = true;
    void this.#inTurn(async () => {
      this.#planAgain = false;
      if (!this.serves) return;
      const applied = await this.#apply(this.#q.instance.kept);
      if (!applied.ok) this.#q.log.error('packets do not go by it', { detail: applied.detail });
    });
  }

  /** Now and then: what goes by counts, what was refused, what the guard took away. */
  look(): void {
    if (!this.serves) return;
    if (this.#fault !== undefined || this.#pools.services.some(goesByLoad)) this.plan();
    const { addresses, instance } = this.#q;
    const wanted = instance.kept.table.addresses;
    if (wanted.every((address) => addresses.held().includes(address))) return;
    void this.#inTurn(async () => {
      if (!this.serves) return;
      const held = await addresses.hold(wanted);
      if (!held.ok) this.#q.log.error('addresses not held', { detail: held.detail });
    });
  }

  /** What all nodes keep: the newest table is the table; their connections go on. */
  async #gather(epoch: number): Promise<ServedFlow[]> {
    const { ics, instance, view } = this.#q;
    const own = ics.self.node;
    this.#listeners.clear();
    this.#listeners.set(own, instance.listeners());
    const others = upMembers(view() as View).filter((m) => m.num !== own);
    const told = await Promise.all(
      others.map(async ({ num }) => {
        const reply = await ics.call(lvs, 'kept', num, { epoch }, { timeoutMs: askMs });
        if (!reply.ok) this.#q.log.warn('a node does not tell what it keeps', { num, ...reply });
        return reply.ok ? [{ num, ...reply.value }] : [];
      }),
    );
    const answers = told.flat();
    for (const { version, table } of answers)
      if (newerVersion(version, instance.kept.version)) await instance.keep({ version, table });
    for (const { num, listeners } of answers) this.#listeners.set(num, listeners);
    return [
      ...this.#served(own, instance.flows()),
      ...answers.flatMap(({ num, flows }) => this.#served(num, flows)),
    ];
  }

  #served(node: number, flows: readonly ClientFlow[]): ServedFlow[] {
    const view = this.#q.view();
    const server = view && findMember(view, node)?.facts.addresses[0];
    return server ? flows.map((f) => ({ ...f, server })) : [];
  }

  #startHealth(): void {
    const { clock, random, prober, log } = this.#q;
    this.#health ??= startHealth({ clock, random, prober, log, onChange: () => this.plan() });
  }

  /** The packets go by that table, with what is UP, heard and healthy now. */
  async #apply(
    { table }: Kept,
    flows: readonly ServedFlow[] = [],
  ): Promise<Reply<undefined, 'EBUSY' | 'EOPNOTSUPP' | 'EIO'>> {
    const view = this.#q.view();
    if (!view || !this.#health) return fail('EIO', 'no view yet');
    const before = this.#planAgain;
    this.#planAgain = true; // What the checks tell while they are told is in what follows.
    this.#health.configure(thereOf(table, view));
    this.#planAgain = before;
    const carried = this.#health.carried();
    const pools = poolsOf({ table, view, listeners: this.#listeners, carried });
    const counts = await this.#counts(pools);
    const planned = this.#planner.plan(pools.services, counts, this.#q.clock.nowMs());
    const done = await this.#q.plane.apply(planned, { flows, gone: goneOf(view) });
    this.#fault = done.ok ? undefined : done.detail;
    if (done.ok) this.#pools = pools;
    return done;
  }

  async #counts(pools: Pools): Promise<ReadonlyMap<string, Connections>> {
    if (!pools.services.some(goesByLoad)) return new Map();
    const counts = await this.#q.plane.connections();
    return counts.ok ? counts.value : new Map();
  }

  /** On this disk, and at every node that answers; the others are handed it when they report. */
  async #keep(kept: Kept): Promise<Reply<undefined, 'EIO' | 'EAGAIN'>> {
    const { ics, instance, view, log } = this.#q;
    const saved = await instance.keep(kept);
    if (!saved.ok)
      return saved.errno === 'EIO' ? fail('EIO', saved.detail) : fail('EAGAIN', saved.detail);
    const others = upMembers(view() as View).filter((m) => m.num !== ics.self.node);
    const replies = await Promise.all(
      others.map((m) => ics.call(lvs, 'keep', m.num, kept, { timeoutMs: keepMs })),
    );
    const silent = others.filter((_, i) => !replies[i]?.ok).map((m) => m.num);
    if (silent.length > 0)
      log.warn('nodes that do not keep the table yet', { silent, of: versionText(kept.version) });
    return ok();
  }
}

/** Addresses of nodes that are no more, and of no other. */
function goneOf(view: View): string[] {
  const of = (isDown: boolean): string[] =>
    view.members
      .filter((m) => (m.state === 'DOWN') === isDown)
      .flatMap((m) => m.facts.addresses.slice(0, 1));
  const there = of(false);
  return of(true).filter((address) => !there.includes(address));
}
