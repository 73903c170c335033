// The directory of this node's share of resources: which node is master of each. Rebuilt whenever the set
// of UP nodes changes, from what the masters themselves say. [VMS DLM: directory node; Linux DLM: dir.c]
import {
  dlm,
  fail,
  ok,
  type Reply,
  type ReplyOf,
  type RequestOf,
  rendezvous,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { LocalNode } from './local-node.ts';
import { firstBlock, nextBlock, type TokenSource } from './tokens.ts';

export type LookupReply = ReplyOf<typeof dlm.ops.lookup>;
export type Barrier = NonNullable<LookupReply['barrier']>;

const retryMs = 20;
const viewMs = 5_000;

export interface DirectoryDeps {
  readonly node: LocalNode;
  readonly tokens: TokenSource;
  /** What has to be over before a new mastership may grant; undefined: nothing. */
  readonly barrier: () => Barrier | undefined;
  /** The keys that this node itself is master of and this directory keeps. */
  readonly ownKeys: () => readonly string[];
  /** A lock manager in a life of which nothing was known. */
  readonly heard: (node: number, bootId: string) => void;
}

export class Directory {
  readonly #d: DirectoryDeps;
  readonly #entries = new Map<string, number>();
  /** Resources whose master was lost, until they have a new one. */
  readonly #lost = new Set<string>();
  /** Sets of UP nodes since all masters were last heard; undefined: they never were. */
  #sets: (readonly number[])[] | undefined;
  #round = 0;
  #settled = Promise.withResolvers<void>();

  constructor(deps: DirectoryDeps) {
    this.#d = deps;
  }

  get size(): number {
    return this.#entries.size;
  }
  /** Resolves when all masters were heard once. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }
  get isSettled(): boolean {
    return this.#sets?.length === 1;
  }

  /** Who is UP changed: hears all masters anew; meanwhile it answers for what was its own all along. */
  rebuild(): void {
    const { node } = this.#d;
    const up = node.up();
    this.#sets?.push(up);
    for (const key of [...this.#entries.keys()])
      if (node.directoryOf(key) !== node.num) this.#entries.delete(key);
    for (const key of [...this.#lost])
      if (node.directoryOf(key) !== node.num) this.#lost.delete(key);
    void this.#hearAll(++this.#round, up);
  }

  async #hearAll(round: number, up: readonly number[]): Promise<void> {
    const { node } = this.#d;
    await Promise.all(node.holders().map((num) => this.#hear(round, num)));
    if (round !== this.#round || node.stopped) return;
    this.#sets = [up];
    this.#settled.resolve();
  }

  async #hear(round: number, num: number): Promise<void> {
    const { node } = this.#d;
    while (round === this.#round && !node.stopped) {
      if (num === node.num) {
        for (const key of this.#d.ownKeys()) this.#entries.set(key, num);
        return;
      }
      const { transid, self } = node;
      if (!self || !node.holders().includes(num)) return;
      const request = { transid, incarnation: self.incarnation, bootId: node.ics.self.bootId };
      const reply = await node.ics.call(dlm, 'census', num, request);
      if (round !== this.#round) return;
      if (reply.ok) {
        this.#d.heard(num, reply.value.bootId);
        for (const key of reply.value.keys) {
          this.#entries.set(key, num);
          this.#lost.delete(key);
        }
        return;
      }
      await sleep(node.clock, retryMs);
    }
  }

  /** Nothing of what that node was master of is left. */
  masterLost(num: number): void {
    for (const [key, master] of this.#entries)
      if (master === num) {
        this.#entries.delete(key);
        this.#lost.add(key);
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
    const known = this.#entries.get(q.key);
    if (known !== undefined && known !== from) return ok({ master: known });
    const valueLost = this.#lost.delete(q.key);
    this.#entries.set(q.key, from);
    const barrier = this.#d.barrier();
    const block = await tokens.block(node.transid, q.tokensOnly ? nextBlock : firstBlock);
    if (!block) return fail('EAGAIN', 'no tokens are left in this transid');
    return ok({ master: from, tokens: block, ...(barrier && { barrier }), valueLost });
  }

  /** Only of who is master of it. */
  forget(key: string, from: number): void {
    if (this.#entries.get(key) === from) this.#entries.delete(key);
  }
}
