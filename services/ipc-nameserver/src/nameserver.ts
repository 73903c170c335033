// The nameserver: active on the node that the view names, with a table of one epoch (the transid of that view).
// A new one asks every UP node once what it has; until all have answered, what its cache says is a hint, verified
// at the object's node, and what it does not say waits. [OpenSSI: the nameserver is rebuilt from the survivors]
import {
  fail,
  type IpcBinding,
  ipc,
  ok,
  type Reply,
  type ReplyOf,
  type RequestOf,
} from '@ssi/contracts';
import type { KeyRole } from '@ssi/ics';
import { type Clock, type Ics, type Log, sleep } from '@ssi/ports';
import { nameKey } from './key.ts';
import type { LocalNode } from './local-node.ts';
import type { Manager } from './manager.ts';
import { bind, drop, find, lookupOrCreate, newTable, unbind } from './object-table.ts';
import type { IdRecord, NameCache } from './ports.ts';
import { heardOf, newReign, type Reign, rebuildReply } from './reign.ts';

/** Callers wait for a rebuild no longer than this. */
const rebuildMs = 10_000;
const retryMs = 20;
/** Ids put on record at a time. */
const idBlock = 1_000;

type Lookup = RequestOf<typeof ipc.ops.lookup>;
type Rebuilt = Reply<ReplyOf<typeof ipc.ops.rebuild>>;

export interface NameserverDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly log: Log;
  readonly node: LocalNode;
  readonly cache: NameCache;
  readonly ids: IdRecord;
  readonly manager: Manager;
}

export class Nameserver {
  readonly #d: NameserverDeps;
  #role: KeyRole | undefined;
  #reign: Reign | undefined;
  readonly counters = { lookups: 0, created: 0, verified: 0, rebuilds: 0, rebuildMs: 0 };

  constructor(deps: NameserverDeps) {
    this.#d = deps;
  }

  attachRole(role: KeyRole): void {
    this.#role = role;
  }
  get size(): number {
    return this.#reign?.table.byId.size ?? 0;
  }

  onEpoch(epoch: number | undefined): void {
    // A lease that lapsed for a moment: nobody else was named meanwhile, so the table is still the table.
    if (epoch === undefined || epoch === this.#reign?.epoch) return;
    const { reign, begun } = newReign(epoch);
    this.#reign = reign;
    void this.#rebuild(reign).then(() => {
      reign.isReady = true;
      reign.hints.clear();
      begun();
    });
  }

  #over(reign: Reign): boolean {
    return this.#d.node.stopped || this.#reign !== reign;
  }

  async #rebuild(reign: Reign): Promise<void> {
    const { ids, cache, clock, log } = this.#d;
    const beganMs = clock.nowMs();
    const hinted = cache.begin(reign.epoch).then((bindings) => {
      if (reign.isReady) return;
      for (const b of bindings) {
        reign.hints.set(b.id, b);
        if (b.name !== undefined) reign.hints.set(nameKey(b.type, b.name), b);
      }
    });
    let lastId = await ids.load();
    const answered = new Set<number>();
    for (;;) {
      const left = this.#d.node.up().filter((num) => !answered.has(num));
      if (left.length === 0 || this.#over(reign)) break;
      await Promise.all(
        left.map(async (num) => {
          const theirs = await this.#takeOver(reign, num);
          if (theirs === undefined) return;
          answered.add(num);
          lastId = Math.max(lastId, theirs);
        }),
      );
      if (left.some((num) => !answered.has(num))) await sleep(clock, retryMs);
    }
    // Those that died meanwhile: their step may have come before they had all been put in.
    const up = new Set(this.#d.node.up());
    drop(reign.table, (b) => !up.has(b.node));
    reign.table.lastId = newTable(reign.epoch, Math.max(lastId, reign.table.lastId)).lastId;
    reign.reserved = reign.table.lastId;
    await hinted;
    if (this.#over(reign)) return;
    cache.replace(reign.epoch, [...reign.table.byId.values()]);
    this.counters.rebuilds++;
    this.counters.rebuildMs = Math.round(clock.nowMs() - beganMs);
    log.info('nameserver', { epoch: reign.epoch, names: reign.table.byId.size });
  }

  /** All that one node has, page by page; the greatest id it ever heard of, or undefined: ask again. */
  async #takeOver(reign: Reign, num: number): Promise<number | undefined> {
    for (let after = 0; ; ) {
      const reply = await this.#askRebuild(num, { epoch: reign.epoch, after });
      if (!reply.ok || !this.#heard(reign, num, reply.value.bootId)) return undefined;
      const { bindings, more, lastId } = reply.value;
      for (const b of bindings) bind(reign.table, b);
      if (!more) return lastId;
      after = bindings.at(-1)?.id ?? after;
    }
  }

  #askRebuild(num: number, q: { epoch: number; after: number }): Promise<Rebuilt> | Rebuilt {
    const { ics, node, manager } = this.#d;
    return num === node.num
      ? rebuildReply(manager, ics.self.bootId, q)
      : ics.call(ipc, 'rebuild', num, q);
  }

  /** A new life of a manager: what the former one had is gone. False: it is the former one. */
  #heard(reign: Reign, num: number, bootId: string): boolean {
    const heard = heardOf(reign, num, bootId);
    if (heard === 'new') this.#drop(reign, (b) => b.node === num && b.bootId !== bootId);
    return heard !== 'former';
  }

  #drop(reign: Reign, lost: (b: IpcBinding) => boolean): void {
    for (const b of drop(reign.table, lost)) this.#d.cache.drop(reign.epoch, b);
  }

  /** The reign, once it may answer; a hint that holds is put into its table before. */
  async #serving(hint: (reign: Reign) => IpcBinding | undefined) {
    const epoch = this.#role?.epoch();
    const reign = this.#reign;
    if (epoch === undefined || reign?.epoch !== epoch) return this.#elsewhere();
    const hinted = reign.isReady ? undefined : hint(reign);
    if (hinted && (await this.#verify(reign, hinted))) return ok(reign);
    if (reign.isReady) return ok(reign);
    let timer: { cancel(): void } | undefined;
    const late = new Promise<false>((done) => {
      timer = this.#d.clock.after(rebuildMs, () => done(false));
    });
    const inTime = await Promise.race([reign.ready.then(() => true), late]);
    timer?.cancel();
    return inTime ? ok(reign) : fail('EAGAIN', 'not every node has said yet what it has');
  }

  #elsewhere() {
    const node = this.#role?.elsewhere();
    return fail('EREMCHG', `the nameserver is on node ${node ?? '(none now)'}`, node);
  }

  /** Its manager has it: then it is bound here, though others have not answered. */
  async #verify(reign: Reign, b: IpcBinding): Promise<boolean> {
    const here = await this.#exists(b);
    if (!here || this.#over(reign)) return false;
    this.counters.verified++;
    if (!reign.isReady && !reign.table.byId.has(b.id)) bind(reign.table, b);
    return true;
  }

  async #exists(b: IpcBinding): Promise<boolean | undefined> {
    const { ics, node, manager } = this.#d;
    if (b.node === node.num) return b.bootId === ics.self.bootId && (await manager.here(b.id));
    if (!node.up().includes(b.node)) return false;
    const reply = await ics.call(ipc, 'exists', b.node, { id: b.id, bootId: b.bootId });
    return reply.ok ? reply.value.here : undefined;
  }

  async lookup(
    q: Lookup,
    from: number,
  ): Promise<Reply<ReplyOf<typeof ipc.ops.lookup>, LookupErrno>> {
    this.counters.lookups++;
    const { name } = q;
    const serving = await this.#serving((r) =>
      name === undefined ? undefined : (find(r.table, q) ?? r.hints.get(nameKey(q.type, name))),
    );
    if (!serving.ok) return serving;
    const reign = serving.value;
    if (!this.#heard(reign, from, q.bootId)) return fail('ESTALE', 'a newer manager was heard of');
    if (reign.isReady) await this.#reserve(reign);
    // It may be over since: what is said now would be another's word.
    if (this.#role?.epoch() !== reign.epoch) return this.#elsewhere();
    const reply = lookupOrCreate(reign.table, q, from);
    if (!reply.ok) return reply;
    const { binding, created } = reply.value;
    if (created) {
      this.counters.created++;
      this.#d.cache.put(reign.epoch, binding);
    }
    return ok({ binding, created, epoch: reign.epoch });
  }

  /** The next id is on record before it is given. */
  async #reserve(reign: Reign): Promise<void> {
    while (reign.table.lastId >= reign.reserved) {
      reign.reserving ??= this.#d.ids.save(reign.table.lastId + idBlock).then(() => {
        reign.reserved = reign.table.lastId + idBlock;
        reign.reserving = undefined;
      });
      await reign.reserving;
    }
  }

  async locate(
    id: number,
  ): Promise<Reply<{ binding: IpcBinding }, 'EINVAL' | 'EREMCHG' | 'EAGAIN'>> {
    const serving = await this.#serving((r) => r.table.byId.get(id) ?? r.hints.get(id));
    if (!serving.ok) return serving;
    const reign = serving.value;
    const binding = reign.table.byId.get(id);
    // Who asks this did not find it where it was.
    const here = binding && (await this.#exists(binding));
    if (this.#role?.epoch() !== reign.epoch) return this.#elsewhere();
    if (here === false) this.#drop(reign, (b) => b.id === id);
    if (here === undefined && binding) return fail('EAGAIN', `node ${binding.node} does not say`);
    return binding && here ? ok({ binding }) : fail('EINVAL', `there is no object ${id}`);
  }

  async unbind(
    q: RequestOf<typeof ipc.ops.unbind>,
  ): Promise<Reply<Record<string, never>, 'EREMCHG' | 'EAGAIN'>> {
    const serving = await this.#serving(() => undefined);
    if (!serving.ok) return serving;
    const { table, epoch } = serving.value;
    const before = table.byId.get(q.id);
    if (!before) return ok({});
    if (q.perm) bind(table, { ...before, perm: q.perm });
    else unbind(table, q.id, q.nameOnly);
    const now = table.byId.get(q.id);
    if (now) this.#d.cache.put(epoch, now);
    else this.#d.cache.drop(epoch, before);
    return ok({});
  }

  async announce(
    from: number,
    bootId: string,
  ): Promise<Reply<Record<string, never>, 'EREMCHG' | 'EAGAIN'>> {
    const serving = await this.#serving(() => undefined);
    if (!serving.ok) return serving;
    this.#heard(serving.value, from, bootId);
    return ok({});
  }

  nodesEnded(nodes: ReadonlySet<number>): void {
    if (!this.#reign) return;
    this.#drop(this.#reign, (b) => nodes.has(b.node));
    for (const [key, b] of this.#reign.hints) if (nodes.has(b.node)) this.#reign.hints.delete(key);
  }
}

type LookupErrno =
  | 'EACCES'
  | 'EEXIST'
  | 'EINVAL'
  | 'ENAMETOOLONG'
  | 'ENOENT'
  | 'ENOSPC'
  | 'EREMCHG'
  | 'EAGAIN'
  | 'ESTALE';
