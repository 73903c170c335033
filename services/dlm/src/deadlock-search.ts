// The search for deadlocks over the whole cluster. One node at a time looks, so that no cycle is broken
// twice: the one that the view names for it. The others tell it that something waits for long.
import { dlm, ok, type Reply } from '@ssi/contracts';
import { confirmed, victims, type Wait, type Waiter, waitsAt } from './deadlock.ts';
import type { LocalNode } from './local-node.ts';
import type { ReleaseRequest } from './mastered.ts';
import type { Masters } from './masters.ts';

const askMs = 2_000;

export interface DeadlockSearchDeps {
  readonly node: LocalNode;
  readonly masters: Masters;
  readonly release: (to: number, q: ReleaseRequest) => Promise<Reply<unknown>>;
}

export class DeadlockSearch {
  readonly #d: DeadlockSearchDeps;
  #running = false;
  #again = false;
  readonly counters = { deadlockSearches: 0, deadlockFinds: 0 };

  constructor(deps: DeadlockSearchDeps) {
    this.#d = deps;
  }

  /** Something of this node waits for long. */
  suspect(): void {
    const { node } = this.#d;
    const to = node.directoryOf('deadlocks');
    if (to === node.num) this.search();
    else if (to !== undefined) node.ics.send(dlm, 'suspect', to, {});
  }

  /** Told by `suspect`; what is told while it looks makes it look again. */
  search(): void {
    this.#again = true;
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    const { node } = this.#d;
    this.#running = true;
    while (this.#again && !node.stopped && node.directoryOf('deadlocks') === node.num) {
      this.#again = false;
      this.counters.deadlockSearches++;
      const first = await this.#look();
      if (victims(first).length === 0) continue;
      const found = victims(confirmed(first, await this.#look()));
      for (const victim of found) await this.#giveWay(victim);
      // There may be more cycles in the same knot.
      if (found.length > 0) this.#again = true;
    }
    this.#running = false;
  }

  /** A node that does not answer has no part: its waits are found when it does. */
  async #look(): Promise<Wait[]> {
    const { node, masters } = this.#d;
    const seen = await Promise.all(
      node.holders().map(async (num) => {
        const waits: Wait[] = [];
        for (let after: string | undefined; ; ) {
          const q = after === undefined ? {} : { after };
          const reply =
            num === node.num
              ? ok(masters.waits(after))
              : await node.ics.call(dlm, 'waits', num, q, { timeoutMs: askMs });
          if (!reply.ok) return waits;
          const { resources, more } = reply.value;
          waits.push(...waitsAt(num, resources));
          after = resources.at(-1)?.key;
          if (!more || after === undefined) return waits;
        }
      }),
    );
    return seen.flat();
  }

  async #giveWay({ master, key, lkid, op }: Waiter): Promise<void> {
    const { life } = this.#d.node;
    if (life === undefined) return;
    const q = { life, key, lkid, op, cancel: 'EDEADLK' as const, flags: 0, force: false };
    const reply = await this.#d.release(master, q);
    if (reply.ok) this.counters.deadlockFinds++;
  }
}
