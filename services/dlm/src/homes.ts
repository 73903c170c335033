// Where the resources that this node uses are mastered, as far as this node knows: found through the
// directory. Where a master is lost the next one comes by itself and fetches what is held: until then
// nothing goes on there.
import type { dlm, MovedValue, Reply, ReplyOf, RequestOf } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { LookupReply } from './directory.ts';
import type { LocalNode } from './local-node.ts';
import type { Token } from './resource.ts';
import { type Block, isNewer, isSame, nameOf } from './tokens.ts';

const retryMs = 20;

export type RebuiltLock = ReplyOf<typeof dlm.ops.rebuild>['locks'][number][number];

/** Whose a resource is, from when on. A new object each time that the master is another, or has fetched anew. */
export interface Mastership {
  readonly node: number;
  readonly life: number;
  readonly since: Token;
}

export interface Home {
  readonly key: string;
  at: Mastership | undefined;
  /** Locks of this node on it, and calls that look for it. */
  users: number;
  finding: Promise<Mastership> | undefined;
  /** Its master is lost, and no other has come yet. */
  lost: boolean;
  onFound: () => void;
}

export interface HomesDeps {
  readonly node: LocalNode;
  readonly lookup: (to: number, q: RequestOf<typeof dlm.ops.lookup>) => Promise<Reply<LookupReply>>;
  /** This node became master of it. */
  readonly mastered: (
    key: string,
    block: Block,
    q: { recover: readonly number[]; valueLost: boolean; moved?: MovedValue | undefined },
  ) => void;
  /** The name of this node's mastership; undefined: it is not master. */
  readonly isMaster: (key: string) => Token | undefined;
  /** Until the directory knows that this node gave it up. */
  readonly forgetting: (key: string) => Promise<void> | undefined;
}

export class Homes {
  readonly #d: HomesDeps;
  readonly #homes = new Map<string, Home>();
  readonly #lost = new Set<Home>();
  #onNoneLost: (() => void)[] = [];

  constructor(deps: HomesDeps) {
    this.#d = deps;
  }

  /** For as long as a lock, or a call, needs to know. */
  use(key: string): Home {
    let home = this.#homes.get(key);
    if (!home) {
      home = { key, at: undefined, users: 0, finding: undefined, lost: false, onFound: () => {} };
      this.#homes.set(key, home);
    }
    home.users++;
    return home;
  }
  unuse(home: Home): void {
    if (--home.users > 0) return;
    this.#homes.delete(home.key);
    this.#found(home);
  }

  /** Its master. Never, where the service stops before. */
  find(home: Home): Mastership | Promise<Mastership> {
    if (home.at && !home.lost) return home.at;
    home.finding ??= this.#find(home).finally(() => {
      home.finding = undefined;
    });
    return home.finding;
  }

  async #find(home: Home): Promise<Mastership> {
    const { node } = this.#d;
    for (;;) {
      if (node.stopped) return new Promise(() => {});
      if (home.at && !home.lost) return home.at;
      if (home.lost) {
        await new Promise<void>((done) => {
          home.onFound = done;
        });
        continue;
      }
      const at = await this.lookup(home.key);
      if (home.at || home.lost) continue;
      if (at && node.lives.hear(at.node, at.life)) home.at = at;
      else await sleep(node.clock, retryMs);
    }
  }

  /** The word of a master that it is not, where nothing is held: another is looked for. */
  wrong(home: Home, at: Mastership): void {
    if (home.at === at && !home.lost) home.at = undefined;
  }

  /** Lives of that node are over. */
  masterLost(num: number): void {
    for (const home of this.#homes.values())
      if (home.at?.node === num && !home.lost && this.#d.node.lives.isOver(num, home.at.life)) {
        home.lost = true;
        this.#lost.add(home);
      }
  }

  /** This node used it in a former life, whoever its master is. */
  lose(home: Home): void {
    home.at = undefined;
    home.lost = true;
    this.#lost.add(home);
  }

  /** A master that is alive gives it up: the next one comes for what is held here. */
  moving(key: string, at: Mastership): void {
    const home = this.#homes.get(key);
    if (!home?.at || home.at.node !== at.node || home.at.life !== at.life) return;
    if (!isSame(home.at.since, at.since)) return;
    home.lost = true;
    this.#lost.add(home);
  }

  /** Whether a master of that name is as new as the one that is known. */
  takes(key: string, since: Token): boolean {
    const at = this.#homes.get(key)?.at;
    return !at || !isNewer(at.since, since);
  }
  /** A master has come for what is held. */
  fetched(key: string, at: Mastership): void {
    const home = this.#homes.get(key);
    if (!home) return;
    home.at = at;
    this.#found(home);
  }

  #found(home: Home): void {
    home.lost = false;
    home.onFound();
    if (this.#lost.delete(home) && this.#lost.size === 0)
      for (const done of this.#onNoneLost.splice(0)) done();
  }

  lost(): Iterable<Home> {
    return this.#lost;
  }
  get lostCount(): number {
    return this.#lost.size;
  }
  noneLost(): Promise<void> {
    return this.#lost.size === 0
      ? Promise.resolve()
      : new Promise((done) => this.#onNoneLost.push(done));
  }

  /** One question to the directory; undefined: ask again. Where the answer is this node, it is master then. */
  async lookup(key: string): Promise<Mastership | undefined> {
    const { node } = this.#d;
    await this.#d.forgetting(key);
    const { life, generation } = node;
    if (life === undefined) return undefined;
    const own = this.#d.isMaster(key);
    if (own) return { node: node.num, life, since: own };
    const directory = node.directoryOf(key);
    if (directory === undefined) return undefined;
    const reply = await this.#d.lookup(directory, { life, key, transid: node.transid });
    // A directory of a former view, or in a former life, may have spoken: the one of today does not know of it.
    if (!reply.ok || node.generation !== generation) return undefined;
    const { master, since, tokens, recover = [], valueLost = false, moved } = reply.value;
    if (master !== node.num || reply.value.life !== life)
      return since && { node: master, life: reply.value.life, since };
    if (!tokens) return undefined;
    if (!this.#d.isMaster(key)) this.#d.mastered(key, tokens, { recover, valueLost, moved });
    return { node: master, life, since: nameOf(tokens) };
  }
}
