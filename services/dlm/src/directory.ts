// The directory of this node's share of resources: which node is master of each. It answers who looks for one, and
// takes it from a master that gives it up to another. [VMS DLM: directory node; Linux DLM: dir.c]
import {
  type dlm,
  fail,
  ok,
  type Reply,
  type ReplyOf,
  type RequestOf,
  rendezvous,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { type Entry, Hearing, type HearingDeps } from './hearing.ts';
import { firstBlock, isNewer, nameOf, nextBlock } from './tokens.ts';

export type LookupReply = ReplyOf<typeof dlm.ops.lookup>;
export type YieldRequest = RequestOf<typeof dlm.ops.yield>;
type YieldReply = Reply<ReplyOf<typeof dlm.ops.yield>, 'EREMCHG' | 'EAGAIN'>;

const retryMs = 20;
const viewMs = 5_000;

export type DirectoryDeps = HearingDeps & {
  readonly named: (to: number, q: RequestOf<typeof dlm.ops.named>) => Promise<Reply<unknown>>;
};

export class Directory {
  readonly #d: DirectoryDeps;
  readonly #entries = new Map<string, Entry>();
  /** Resources whose master was lost, until they have a new one. */
  readonly #lost = new Set<string>();
  readonly #hearing: Hearing;

  constructor(deps: DirectoryDeps) {
    this.#d = deps;
    this.#hearing = new Hearing(deps, { entries: this.#entries, lost: this.#lost });
  }

  get size(): number {
    return this.#entries.size;
  }
  /** Resolves when all nodes were heard once. */
  get settled(): Promise<void> {
    return this.#hearing.settled;
  }
  get isSettled(): boolean {
    return this.#hearing.heardAll;
  }
  hearAll(): void {
    this.#hearing.hearAll();
  }

  /** Who is UP changed. Meanwhile it answers for what was its own all along. */
  rebuild(): void {
    const { node } = this.#d;
    this.#hearing.sets?.push(node.up());
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

  async lookup(
    q: RequestOf<typeof dlm.ops.lookup>,
    from: number,
  ): Promise<Reply<LookupReply, 'EREMCHG' | 'EAGAIN'>> {
    const { node, tokens } = this.#d;
    if (!(await node.atView(q.transid, viewMs))) return fail('EAGAIN', 'not at your view yet');
    const directory = node.directoryOf(q.key);
    if (directory !== node.num)
      return fail('EREMCHG', `its directory is node ${directory}`, directory ?? 0);
    const answers = this.#hearing.sets?.every((up) => rendezvous(`dlm:${q.key}`, up) === node.num);
    if (!answers) return fail('EAGAIN', 'the directory is being rebuilt');
    if (q.tokensOnly) {
      const block = await tokens.block(node.transid, nextBlock);
      if (!block) return fail('EAGAIN', 'no tokens are left in this transid');
      return ok({ master: from, life: q.life, tokens: block });
    }
    let entry = this.#entries.get(q.key);
    if (!entry) {
      const wasLost = this.#lost.has(q.key);
      if (wasLost && !this.#hearing.heardAll) return fail('EAGAIN', 'its master was lost');
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
    if (!this.#hearing.heardAll) return fail('EAGAIN', 'the directory is being rebuilt');
    const round = this.#hearing.round;
    const block = await this.#d.tokens.block(node.transid, firstBlock);
    if (!block || round !== this.#hearing.round) return fail('EAGAIN', 'not now');
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
