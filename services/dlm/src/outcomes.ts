// What comes of operations at a master, told to the agents that wait for it, and what that makes possible: who is
// granted next, and the fencing tokens that a grant needs. [VMS DLM: completion and blocking ASTs]
import type { dlm, LockOutcome, RequestOf } from '@ssi/contracts';
import { type Ast, grantPending } from './grant.ts';
import type { LocalNode } from './local-node.ts';
import { type AskRequest, type HeldLock, type Mastered, outcomeOf } from './mastered.ts';
import { Refusals } from './refusals.ts';
import { isUnused } from './resource.ts';
import { somebodyWaits } from './shown.ts';
import type { Block } from './tokens.ts';

export interface OutcomesDeps {
  readonly node: LocalNode;
  /** To the agent of a node; order is kept. */
  readonly tell: (node: number, q: RequestOf<typeof dlm.ops.told>) => void;
  /** More tokens for a resource, from its directory. */
  readonly refill: (key: string) => Promise<Block>;
}

export class Outcomes {
  readonly #d: OutcomesDeps;
  readonly #refusals = new Refusals();
  readonly counters = { granted: 0, queued: 0, blocking: 0, deadlocks: 0 };

  constructor(deps: OutcomesDeps) {
    this.#d = deps;
  }

  /** What it was refused before, after it had been queued: the same again. */
  refused(q: AskRequest): LockOutcome | undefined {
    return this.#refusals.of(q);
  }
  sweep(nowMs: number): void {
    this.#refusals.sweep(nowMs);
  }

  /** `answered`: its outcome goes out as the reply. */
  deliver(m: Mastered, asts: readonly Ast<HeldLock>[], answered?: HeldLock): void {
    for (const ast of asts) {
      const { lock } = ast;
      const { lkid, op } = lock;
      if (ast.type === 'blocking') {
        this.counters.blocking++;
        this.#tell(lock.node, { lkid, op, blocking: ast.mode });
        continue;
      }
      lock.outcome = outcomeOf(m.resource, ast);
      if (ast.type === 'granted') this.counters.granted++;
      else if (ast.errno === 'EDEADLK') this.counters.deadlocks++;
      if (lock.granted === undefined) m.locks.delete(lkid);
      if (lock === answered) continue;
      this.#tell(lock.node, { lkid, op, outcome: lock.outcome });
      if (lock.granted !== undefined) continue;
      const atMs = this.#d.node.clock.nowMs();
      this.#refusals.add(lkid, { life: lock.life, op, outcome: lock.outcome, atMs });
    }
    if (isUnused(m.resource)) m.idleSinceMs = this.#d.node.clock.nowMs();
    // Somebody waits for nothing but a token.
    else if (m.resource.tokens.next > m.resource.tokens.last && somebodyWaits(m.resource))
      void this.refill(m);
  }

  /** Then who waits for nothing else is granted. */
  async refill(m: Mastered): Promise<void> {
    const block = await this.#d.refill(m.key);
    const { tokens } = m.resource;
    if (tokens.next > tokens.last) {
      tokens.transid = block.transid;
      tokens.next = block.first;
      tokens.last = block.last;
    }
    if (!m.recovering) this.settle(m);
  }

  /** Grants what can be had. `recovered`: conversions need not keep their order. */
  settle(m: Mastered, recovered = false): void {
    const asts: Ast<HeldLock>[] = [];
    grantPending(m.resource, asts, recovered);
    this.deliver(m, asts);
  }

  #tell(to: number, q: Omit<RequestOf<typeof dlm.ops.told>, 'life'>): void {
    const { life } = this.#d.node;
    if (life !== undefined) this.#d.tell(to, { life, ...q });
  }
}
