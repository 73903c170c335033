// The directory of this node's share of resources: which node is master of each. Whenever who is UP changes, or
// a life of a lock manager is over, it hears all nodes in two turns: what they are master of, then what they use
// of which the master is lost. For each of these it names a new master, and the nodes from which that has to
// fetch what they hold. [VMS DLM: directory node; Linux DLM: dir.c, recover.c]
import {
  type dlm,
  fail,
  type MovedValue,
  ok,
  type Reply,
  type ReplyOf,
  type RequestOf,
  rendezvous,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { LocalNode } from './local-node.ts';
import { keyBytes, Page } from './page.ts';
import { type Block, firstBlock, isNewer, nameOf, nextBlock, type TokenSource } from './tokens.ts';

export type LookupReply = ReplyOf<typeof dlm.ops.lookup>;
type CensusRequest = RequestOf<typeof dlm.ops.census>;
type RemasterRequest = RequestOf<typeof dlm.ops.remaster>;
export type YieldRequest = RequestOf<typeof dlm.ops.yield>;
type YieldReply = Reply<ReplyOf<typeof dlm.ops.yield>, 'EREMCHG' | 'EAGAIN'>;

const retryMs = 20;
const viewMs = 5_000;
const remasterMax = 500;

export interface DirectoryDeps {
  readonly node: LocalNode;
  readonly tokens: TokenSource;
  /** Deaths that the view shows and whose step has not come: what the dead had is not lost yet. */
  readonly mourning: () => boolean;
  readonly census: (to: number, q: CensusRequest) => Promise<Reply<ReplyOf<typeof dlm.ops.census>>>;
  readonly lost: (to: number, q: CensusRequest) => Promise<Reply<ReplyOf<typeof dlm.ops.lost>>>;
  readonly remaster: (to: number, q: RemasterRequest) => Promise<Reply<unknown>>;
  readonly named: (to: number, q: RequestOf<typeof dlm.ops.named>) => Promise<Reply<unknown>>;
}

interface Entry {
  readonly master: number;
  readonly life: number;
  /** Of its mastership; undefined: they are being written down. */
  tokens: Block | undefined;
  /** By its own word: it may have used these tokens, and given it up since. */
  heard: boolean;
  /** What a new master fetches from. */
  recover: readonly number[];
  readonly valueLost: boolean;
  /** From the master that gave it up to this one. */
  readonly moved?: MovedValue;
}

/** Users of a resource whose master is lost: locks held, by node. */
type Users = Map<number, number>;

export class Directory {
  readonly #d: DirectoryDeps;
  readonly #entries = new Map<string, Entry>();
  /** Resources whose master was lost, until they have a new one. */
  readonly #lost = new Set<string>();
  /** Sets of UP nodes since all nodes were last heard; undefined: they never were. */
  #sets: (readonly number[])[] | undefined;
  #round = 0;
  /** The present round is over: what is lost is free for the next who asks. */
  #heardAll = false;
  #settled = Promise.withResolvers<void>();

  constructor(deps: DirectoryDeps) {
    this.#d = deps;
  }

  get size(): number {
    return this.#entries.size;
  }
  /** Resolves when all nodes were heard once. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }
  get isSettled(): boolean {
    return this.#heardAll;
  }

  /** Who is UP changed. Meanwhile it answers for what was its own all along. */
  rebuild(): void {
    const { node } = this.#d;
    this.#sets?.push(node.up());
    for (const key of [...this.#entries.keys()])
      if (node.directoryOf(key) !== node.num) this.#entries.delete(key);
    for (const key of [...this.#lost])
      if (node.directoryOf(key) !== node.num) this.#lost.delete(key);
    this.hearAll();
  }

  /** Nothing is left of what former lives of that node were master of. */
  masterLost(num: number): void {
    for (const [key, { master, life }] of this.#entries)
      if (master === num && this.#d.node.lives.isOver(num, life)) {
        this.#entries.delete(key);
        this.#lost.add(key);
      }
    this.hearAll();
  }

  hearAll(): void {
    this.#heardAll = false;
    void this.#hearAll(++this.#round);
  }

  async #hearAll(round: number): Promise<void> {
    const { node } = this.#d;
    while (this.#d.mourning() || node.life === undefined) {
      await sleep(node.clock, retryMs);
      if (round !== this.#round || node.stopped) return;
    }
    const up = node.up();
    const lost = new Map<string, Users>();
    await Promise.all(node.holders().map((num) => this.#census(round, num)));
    await Promise.all(node.holders().map((num) => this.#hearLost(round, num, lost)));
    if (round !== this.#round || node.stopped) return;
    const batches = await this.#place(round, lost);
    if (round !== this.#round || node.stopped) return;
    this.#sets = [up];
    this.#heardAll = true;
    this.#settled.resolve();
    for (const [num, resources] of batches)
      for (let at = 0; at < resources.length; ) {
        const page = new Page();
        const some = resources
          .slice(at, at + remasterMax)
          .filter(({ key, recover }) => page.takes(keyBytes(key) + 4 * recover.length));
        at += some.length;
        void this.#send(round, num, some);
      }
  }

  /** Until that node has answered, or this round is of no use any more. */
  async #ask<T extends { life: number; more: boolean }>(
    round: number,
    num: number,
    ask: (q: CensusRequest) => Promise<Reply<T>>,
    each: (value: T) => string | undefined,
    again: () => Promise<void>,
  ): Promise<void> {
    const { node } = this.#d;
    let after: string | undefined;
    for (;;) {
      const { life, transid } = node;
      if (round !== this.#round || node.stopped || life === undefined) return;
      if (!node.holders().includes(num)) return;
      const lives = node.lives.all();
      const where = after !== undefined && { after };
      const reply = await ask({ life, round, transid, up: node.up(), lives, ...where });
      if (round !== this.#round) return;
      if (reply.ok && node.lives.hear(num, reply.value.life)) {
        if (round !== this.#round) return;
        after = each(reply.value);
        if (!reply.value.more) return;
        continue;
      }
      await sleep(node.clock, retryMs);
      await again();
    }
  }

  #census(round: number, num: number): Promise<void> {
    const { node } = this.#d;
    return this.#ask(
      round,
      num,
      (q) => this.#d.census(num, q),
      ({ life, lives, masters }) => {
        node.lives.merge(lives);
        for (const { key, tokens } of masters) {
          const known = this.#entries.get(key);
          if (known?.tokens && isNewer(nameOf(known.tokens), nameOf(tokens))) continue;
          if (node.directoryOf(key) !== node.num || node.lives.isOver(num, life)) continue;
          const recover = known?.master === num ? known.recover : [];
          this.#entries.set(key, {
            master: num,
            life,
            tokens,
            heard: true,
            recover,
            valueLost: false,
          });
          this.#lost.delete(key);
        }
        return masters.at(-1)?.key;
      },
      async () => {},
    );
  }

  #hearLost(round: number, num: number, all: Map<string, Users>): Promise<void> {
    return this.#ask(
      round,
      num,
      (q) => this.#d.lost(num, q),
      ({ lost }) => {
        for (const { key, held } of lost) {
          const users = all.get(key);
          if (users) users.set(num, held);
          else all.set(key, new Map([[num, held]]));
        }
        return lost.at(-1)?.key;
      },
      // It may know of lives that this node does not.
      () => this.#census(round, num),
    );
  }

  /** Who is to be master of each that is lost: who has the most locks there. */
  async #place(
    round: number,
    lost: Map<string, Users>,
  ): Promise<Map<number, RemasterRequest['resources']>> {
    const { node } = this.#d;
    const batches = new Map<number, RemasterRequest['resources']>();
    for (const [key, users] of lost) {
      let entry = this.#entries.get(key);
      const recover = [...users.keys()];
      if (!entry) {
        const [master = 0] = [...users].reduce((a, b) => (b[1] > a[1] ? b : a));
        const life = node.lives.alive(master);
        const tokens = await this.#block();
        if (!tokens || round !== this.#round) return batches;
        if (life === undefined) continue;
        entry = { master, life, tokens, heard: false, recover, valueLost: true };
        this.#entries.set(key, entry);
        this.#lost.delete(key);
      }
      // Where it is being given up, the next master has to hear them.
      else entry.recover = [...new Set([...entry.recover, ...recover])];
      // It was master all along, or has given it up a moment ago and becomes it anew.
      const tokens = entry.heard ? await this.#block() : entry.tokens;
      if (!tokens || round !== this.#round) return batches;
      const batch = batches.get(entry.master) ?? [];
      batch.push({ key, tokens, recover: [...entry.recover] });
      batches.set(entry.master, batch);
    }
    return batches;
  }

  /** For a new mastership; waits for the next transition where none are left. */
  async #block(): Promise<Block | undefined> {
    const { node } = this.#d;
    while (!node.stopped) {
      const block = await this.#d.tokens.block(node.transid, firstBlock);
      if (block) return block;
      await sleep(node.clock, retryMs);
    }
    return undefined;
  }

  async #send(round: number, to: number, resources: RemasterRequest['resources']): Promise<void> {
    const { node } = this.#d;
    for (;;) {
      const { life } = node;
      if (round !== this.#round || node.stopped || life === undefined) return;
      if ((await this.#d.remaster(to, { life, round, resources })).ok) return;
      await sleep(node.clock, retryMs);
    }
  }

  async lookup(
    q: RequestOf<typeof dlm.ops.lookup>,
    from: number,
  ): Promise<Reply<LookupReply, 'EREMCHG' | 'EAGAIN'>> {
    const { node, tokens } = this.#d;
    if (!(await node.atView(q.transid, viewMs))) return fail('EAGAIN', 'not at your view yet');
    const directory = node.directoryOf(q.key);
    if (directory !== node.num)
      return fail('EREMCHG', `its directory is node ${directory}`, directory ?? 0);
    const answers = this.#sets?.every((up) => rendezvous(`dlm:${q.key}`, up) === node.num);
    if (!answers) return fail('EAGAIN', 'the directory is being rebuilt');
    if (q.tokensOnly) {
      const block = await tokens.block(node.transid, nextBlock);
      if (!block) return fail('EAGAIN', 'no tokens are left in this transid');
      return ok({ master: from, life: q.life, tokens: block });
    }
    let entry = this.#entries.get(q.key);
    if (!entry) {
      const wasLost = this.#lost.has(q.key);
      if (wasLost && !this.#heardAll) return fail('EAGAIN', 'its master was lost');
      if (node.lives.isOver(from, q.life)) return fail('EAGAIN', 'that life is over');
      this.#lost.delete(q.key);
      const none = { tokens: undefined, recover: [], valueLost: wasLost };
      entry = { master: from, life: q.life, heard: true, ...none };
      this.#entries.set(q.key, entry);
    }
    const { master, life, recover, valueLost, moved } = entry;
    if (master === from && life === q.life && entry.heard) {
      entry.heard = false;
      entry.tokens = await tokens.block(node.transid, firstBlock);
      if (!entry.tokens) entry.heard = true;
    }
    const block = entry.tokens;
    if (!block)
      return fail('EAGAIN', 'no tokens are left in this transid, or they are being written down');
    const since = nameOf(block);
    if (master !== from || life !== q.life) return ok({ master, life, since });
    const more = moved && { moved };
    return ok({ master, life, since, tokens: block, recover: [...recover], valueLost, ...more });
  }

  /** A master gives it up to another node: everybody there knows, so that from here on it is as lost. */
  async yield(q: YieldRequest, from: number): Promise<YieldReply> {
    const { node } = this.#d;
    if (!(await node.atView(q.transid, viewMs))) return fail('EAGAIN', 'not at your view yet');
    if (node.directoryOf(q.key) !== node.num)
      return fail('EREMCHG', 'another node is its directory');
    // A round in between has heard that it is master still, and would name it again.
    if (!this.#heardAll) return fail('EAGAIN', 'the directory is being rebuilt');
    const round = this.#round;
    const block = await this.#d.tokens.block(node.transid, firstBlock);
    if (!block || round !== this.#round) return fail('EAGAIN', 'not now');
    const before = this.#entries.get(q.key);
    const isFrom = before?.master === from && before.life === q.life;
    if (before && !before.tokens) return fail('EAGAIN', 'not now');
    const name = before?.tokens && nameOf(before.tokens);
    // It was accepted before, or this comes late. The name that a round heard may be older than its own.
    if (name && (!isFrom || isNewer(name, q.since))) return ok({ since: isFrom ? q.since : name });
    const life = node.lives.alive(q.to);
    if (life === undefined || !node.up().includes(q.to)) {
      // It died meanwhile: who holds locks there says so.
      this.#entries.delete(q.key);
      this.#lost.add(q.key);
      this.hearAll();
    } else {
      const { to: master, users, moved } = q;
      const recover = [...new Set([...(before?.recover ?? []), ...users])];
      const valueLost = moved.valueInvalid;
      const entry = { master, life, tokens: block, heard: false, recover, valueLost, moved };
      this.#entries.set(q.key, entry);
      void this.#name(q.key, entry);
    }
    return ok({ since: nameOf(block) });
  }

  /** Until it knows, or it is of no use any more. */
  async #name(key: string, entry: Entry): Promise<void> {
    const { node } = this.#d;
    while (this.#entries.get(key) === entry && !node.stopped && node.life !== undefined) {
      if ((await this.#d.named(entry.master, { life: node.life, key })).ok) return;
      await sleep(node.clock, retryMs);
    }
  }

  /** Only of who is master of it. */
  forget(key: string, from: number): void {
    if (this.#entries.get(key)?.master === from) this.#entries.delete(key);
  }
}
