// A directory's rounds. Whenever who is UP changes, or a life of a lock manager is over, it hears all nodes in two
// turns: what they are master of, then what they use of which the master is lost. For each of these it names a new
// master, and the nodes from which that has to fetch what they hold. [Linux DLM: recover.c]
import type { dlm, MovedValue, Reply, ReplyOf, RequestOf } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { LocalNode } from './local-node.ts';
import { keyBytes, Page } from './page.ts';
import { type Block, firstBlock, isNewer, nameOf, type TokenSource } from './tokens.ts';

type CensusRequest = RequestOf<typeof dlm.ops.census>;
type RemasterRequest = RequestOf<typeof dlm.ops.remaster>;

const retryMs = 20;
const remasterMax = 500;

export interface HearingDeps {
  readonly node: LocalNode;
  readonly tokens: TokenSource;
  /** Deaths that the view shows and whose step has not come: what the dead had is not lost yet. */
  readonly mourning: () => boolean;
  readonly census: (to: number, q: CensusRequest) => Promise<Reply<ReplyOf<typeof dlm.ops.census>>>;
  readonly lost: (to: number, q: CensusRequest) => Promise<Reply<ReplyOf<typeof dlm.ops.lost>>>;
  readonly remaster: (to: number, q: RemasterRequest) => Promise<Reply<unknown>>;
}

export interface Entry {
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

/** Which node is master of each resource of this directory's share. */
export interface DirectoryTable {
  readonly entries: Map<string, Entry>;
  /** Resources whose master was lost, until they have a new one. */
  readonly lost: Set<string>;
}

/** Users of a resource whose master is lost: locks held, by node. */
type Users = Map<number, number>;

export class Hearing {
  readonly #d: HearingDeps;
  readonly #table: DirectoryTable;
  /** Sets of UP nodes since all nodes were last heard; undefined: they never were. */
  sets: (readonly number[])[] | undefined;
  /** Counts the rounds. */
  round = 0;
  /** The present round is over: what is lost is free for the next who asks. */
  heardAll = false;
  readonly #settled = Promise.withResolvers<void>();

  constructor(deps: HearingDeps, table: DirectoryTable) {
    this.#d = deps;
    this.#table = table;
  }

  /** Resolves when all nodes were heard once. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** Begins a round; the one before is of no use any more. */
  hearAll(): void {
    this.heardAll = false;
    void this.#hearAll(++this.round);
  }

  async #hearAll(round: number): Promise<void> {
    const { node } = this.#d;
    while (this.#d.mourning() || node.life === undefined) {
      await sleep(node.clock, retryMs);
      if (round !== this.round || node.stopped) return;
    }
    const up = node.up();
    const lost = new Map<string, Users>();
    await Promise.all(node.holders().map((num) => this.#census(round, num)));
    await Promise.all(node.holders().map((num) => this.#hearLost(round, num, lost)));
    if (round !== this.round || node.stopped) return;
    const batches = await this.#place(round, lost);
    if (round !== this.round || node.stopped) return;
    this.sets = [up];
    this.heardAll = true;
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
      if (round !== this.round || node.stopped || life === undefined) return;
      if (!node.holders().includes(num)) return;
      const lives = node.lives.all();
      const where = after !== undefined && { after };
      const reply = await ask({ life, round, transid, up: node.up(), lives, ...where });
      if (round !== this.round) return;
      if (reply.ok && node.lives.hear(num, reply.value.life)) {
        if (round !== this.round) return;
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
          const known = this.#table.entries.get(key);
          if (known?.tokens && isNewer(nameOf(known.tokens), nameOf(tokens))) continue;
          if (node.directoryOf(key) !== node.num || node.lives.isOver(num, life)) continue;
          const recover = known?.master === num ? known.recover : [];
          this.#table.entries.set(key, {
            master: num,
            life,
            tokens,
            heard: true,
            recover,
            valueLost: false,
          });
          this.#table.lost.delete(key);
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
      let entry = this.#table.entries.get(key);
      const recover = [...users.keys()];
      if (!entry) {
        const [master = 0] = [...users].reduce((a, b) => (b[1] > a[1] ? b : a));
        const life = node.lives.alive(master);
        const tokens = await this.#block();
        if (!tokens || round !== this.round) return batches;
        if (life === undefined) continue;
        entry = { master, life, tokens, heard: false, recover, valueLost: true };
        this.#table.entries.set(key, entry);
        this.#table.lost.delete(key);
      }
      // Where it is being given up, the next master has to hear them.
      else entry.recover = [...new Set([...entry.recover, ...recover])];
      // It was master all along, or has given it up a moment ago and becomes it anew.
      const tokens = entry.heard ? await this.#block() : entry.tokens;
      if (!tokens || round !== this.round) return batches;
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
      if (round !== this.round || node.stopped || life === undefined) return;
      if ((await this.#d.remaster(to, { life, round, resources })).ok) return;
      await sleep(node.clock, retryMs);
    }
  }
}
