// What is done about losses: a node that died (in membership's step, after its fence) and a lock manager
// that was started again. Who keeps a resource grants nothing new there until every node has sent what it
// held of lost masters: the barrier. [VMS DLM, fs/dlm/recoverd.c: recovery]
import {
  dlm,
  fail,
  findMember,
  type MemberId,
  ok,
  type Reply,
  sameIncarnation,
  talksIn,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { Agent } from './agent.ts';
import type { Barrier, Directory } from './directory.ts';
import type { Homes } from './homes.ts';
import type { LocalNode } from './local-node.ts';
import type { Masters } from './masters.ts';

const retryMs = 20;
const stepViewMs = 5_000;
/** The step is acknowledged when all is sent; the barrier holds grants back where that takes longer. */
const sentMs = 8_000;

export class Recovery {
  readonly #node: LocalNode;
  readonly #parts: { masters: Masters; directory: Directory; agent: Agent; homes: Homes };
  /** Deaths that the view shows and whose step has not come. */
  readonly #pending = new Map<string, MemberId>();
  #open: Barrier | undefined;

  constructor(
    node: LocalNode,
    parts: { masters: Masters; directory: Directory; agent: Agent; homes: Homes },
  ) {
    this.#node = node;
    this.#parts = parts;
    node.onView((view, before) => {
      const wereUp = (before?.members ?? []).filter((m) => m.num !== node.num && talksIn(m.state));
      for (const { num, incarnation } of wereUp) {
        const now = findMember(view, num);
        if (now && talksIn(now.state) && sameIncarnation(now.incarnation, incarnation)) continue;
        this.#pending.set(incarnation.bootId, { num, incarnation });
        this.#openBarrier();
      }
      // Its steps are over, or this node was not asked to take part.
      for (const dead of [...this.#pending.values()]) {
        const now = findMember(view, dead.num);
        const over =
          !now || now.state === 'DOWN' || !sameIncarnation(now.incarnation, dead.incarnation);
        if (over) this.#lost(dead);
      }
      const up = node.up().join();
      const wasUp = (before?.members ?? []).filter((m) => m.state === 'UP').map((m) => m.num);
      if (up !== wasUp.join()) parts.directory.rebuild();
    });
  }

  /** What a new mastership waits for; undefined: no loss is being mended. */
  get barrier(): Barrier | undefined {
    return this.#open;
  }

  #openBarrier(): void {
    const boots = [...this.#node.boots].map(([node, bootId]) => ({ node, bootId }));
    const barrier = { transid: this.#node.transid, boots };
    this.#open = barrier;
    void this.passed(barrier).then(() => {
      if (this.#open === barrier) this.#open = undefined;
    });
  }

  /** Resolves when the barrier is behind every node. */
  async passed(barrier: Barrier): Promise<void> {
    await this.#node.atView(barrier.transid, Number.MAX_SAFE_INTEGER);
    const asked = new Set<number>();
    for (;;) {
      const left = this.#node.holders().filter((num) => !asked.has(num));
      if (left.length === 0) return;
      await Promise.all(
        left.map(async (num) => {
          if (await this.#passedAt(num, barrier)) asked.add(num);
        }),
      );
    }
  }

  /** False: that node has left meanwhile. */
  async #passedAt(num: number, barrier: Barrier): Promise<boolean> {
    const node = this.#node;
    while (!node.stopped && node.holders().includes(num)) {
      const reply =
        num === node.num
          ? await this.at(barrier)
          : await node.ics.call(dlm, 'barrier', num, barrier);
      if (reply.ok) return true;
      await sleep(node.clock, retryMs);
    }
    if (node.stopped) await new Promise(() => {});
    return false;
  }

  /** Is it behind this node? */
  async at(barrier: Barrier): Promise<Reply<Record<string, never>, 'EAGAIN'>> {
    const node = this.#node;
    const here =
      node.transid >= barrier.transid &&
      barrier.boots.every((b) => node.seenBoots.has(b.bootId) || !node.holders().includes(b.node));
    if (!here) return fail('EAGAIN', 'that is not known here yet');
    if (this.#pending.size > 0) return fail('EAGAIN', 'the nodedown step has not come yet');
    if (this.#parts.homes.lost > 0) return fail('EAGAIN', 'locks of lost masters are being sent');
    return ok({});
  }

  /** Membership's step: the dead are fenced. */
  async nodedown(
    dead: readonly MemberId[],
    transid: number,
  ): Promise<Reply<Record<string, never>, 'EIO'>> {
    const node = this.#node;
    if (!(await node.atView(transid, stepViewMs)))
      return fail('EIO', `not at transid ${transid} yet`);
    for (const one of dead) {
      const now = node.view && findMember(node.view, one.num);
      // Another life of it is a member already: what that one holds stays.
      if (now && talksIn(now.state) && !sameIncarnation(now.incarnation, one.incarnation))
        this.#pending.delete(one.incarnation.bootId);
      else this.#lost(one);
    }
    await Promise.race([this.#parts.homes.noneLost(), sleep(node.clock, sentMs)]);
    return ok({});
  }

  #lost(dead: MemberId): void {
    this.#pending.delete(dead.incarnation.bootId);
    this.#node.boots.delete(dead.num);
    this.#gone(dead.num);
  }

  /** The lock manager of a node runs in another life than before: nothing is left of the former. */
  heard(num: number, bootId: string): void {
    if (!this.#node.heardOf(num, bootId)) return;
    this.#node.log.info('a lock manager was started again', { num, bootId });
    this.#gone(num);
    this.#openBarrier();
  }

  #gone(num: number): void {
    const { masters, directory, agent } = this.#parts;
    directory.masterLost(num);
    agent.masterLost(num);
    masters.purgeNode(num);
  }
}
