// Where the resources that this node has locks on are mastered, as far as this node knows; found through
// the directory, and found again when the master is lost, with the locks sent to the new one first.
import type { dlm, RequestOf } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { Barrier, LookupReply } from './directory.ts';
import type { LocalNode } from './local-node.ts';
import type { Block } from './tokens.ts';

const retryMs = 20;
/** Locks in one message of a rebuild. */
const rebuildMax = 500;

export type RebuiltLock = RequestOf<typeof dlm.ops.rebuild>['locks'][number];

export interface Home {
  readonly key: string;
  master: number | undefined;
  /** Locks of this node on it, and calls that look for it. */
  users: number;
  finding: Promise<number> | undefined;
  /** Its master was lost, and not all locks have been sent to the new one. */
  lost: boolean;
}

export interface HomesDeps {
  readonly node: LocalNode;
  readonly lookup: (
    to: number,
    q: RequestOf<typeof dlm.ops.lookup>,
  ) => Promise<{ ok: true; value: LookupReply } | { ok: false; errno: string; detail: string }>;
  /** This node became master of it. */
  readonly mastered: (
    key: string,
    block: Block,
    barrier: Barrier | undefined,
    valueLost: boolean,
  ) => void;
  readonly isMaster: (key: string) => boolean;
  /** Until the directory knows that this node gave it up. */
  readonly forgetting: (key: string) => Promise<void> | undefined;
  readonly rebuild: (to: number, q: RequestOf<typeof dlm.ops.rebuild>) => Promise<boolean>;
  /** What this node holds on it, as the new master is to know it. */
  readonly held: (key: string) => RebuiltLock[];
}

export class Homes {
  readonly #d: HomesDeps;
  readonly #homes = new Map<string, Home>();
  #lost = 0;
  /** Counts: what was found before the newest loss may be what was lost. */
  #losses = 0;
  #onNoneLost: (() => void)[] = [];

  constructor(deps: HomesDeps) {
    this.#d = deps;
  }

  /** For as long as a lock, or a call, needs to know. */
  use(key: string): Home {
    let home = this.#homes.get(key);
    if (!home) {
      home = { key, master: undefined, users: 0, finding: undefined, lost: false };
      this.#homes.set(key, home);
    }
    home.users++;
    return home;
  }
  unuse(home: Home): void {
    if (--home.users === 0 && !home.lost) this.#homes.delete(home.key);
  }

  /** Its master, when that has all the locks of this node. Never, where the service stops before. */
  find(home: Home): number | Promise<number> {
    if (home.master !== undefined && !home.lost) return home.master;
    home.finding ??= this.#find(home).finally(() => {
      home.finding = undefined;
    });
    return home.finding;
  }

  /** The word of a master that it is not. */
  wrong(home: Home, master: number): void {
    if (home.master !== master || home.lost) return;
    home.master = undefined;
    // Whoever is it now may not know what this node holds.
    if (this.#d.held(home.key).length > 0) this.#lose(home);
  }

  #lose(home: Home): void {
    home.master = undefined;
    if (!home.lost) {
      home.lost = true;
      this.#lost++;
    }
    void this.find(home);
  }

  masterLost(num: number): void {
    this.#losses++;
    for (const home of this.#homes.values()) if (home.master === num) this.#lose(home);
  }

  get lost(): number {
    return this.#lost;
  }
  noneLost(): Promise<void> {
    return this.#lost === 0
      ? Promise.resolve()
      : new Promise((done) => this.#onNoneLost.push(done));
  }

  async #find(home: Home): Promise<number> {
    const { node } = this.#d;
    for (;;) {
      if (node.stopped) return new Promise(() => {});
      const losses = this.#losses;
      const master = await this.lookup(home.key);
      if (master === undefined || losses !== this.#losses) {
        await sleep(node.clock, retryMs);
        continue;
      }
      if (home.lost && (!(await this.#send(home, master)) || losses !== this.#losses)) {
        await sleep(node.clock, retryMs);
        continue;
      }
      home.master = master;
      if (home.lost) {
        home.lost = false;
        if (--this.#lost === 0) for (const done of this.#onNoneLost.splice(0)) done();
        if (home.users === 0) this.#homes.delete(home.key);
      }
      return master;
    }
  }

  async #send(home: Home, master: number): Promise<boolean> {
    const locks = this.#d.held(home.key);
    for (let at = 0; at < locks.length; at += rebuildMax) {
      const q = { key: home.key, locks: locks.slice(at, at + rebuildMax) };
      if (!(await this.#d.rebuild(master, q))) return false;
    }
    return true;
  }

  /** One question to the directory; undefined: ask again. Where the answer is this node, it is master then. */
  async lookup(key: string): Promise<number | undefined> {
    const { node } = this.#d;
    await this.#d.forgetting(key);
    if (this.#d.isMaster(key)) return node.num;
    const directory = node.directoryOf(key);
    if (directory === undefined) return undefined;
    const reply = await this.#d.lookup(directory, { key, transid: node.transid });
    // A directory of a former view may have spoken: what it says is worth nothing by now.
    if (!reply.ok || node.directoryOf(key) !== directory) return undefined;
    const { master, tokens, barrier, valueLost } = reply.value;
    if (master !== node.num) return master;
    if (!tokens) return undefined;
    if (!this.#d.isMaster(key)) this.#d.mastered(key, tokens, barrier, valueLost ?? false);
    return master;
  }
}
