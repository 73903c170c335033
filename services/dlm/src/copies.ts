// The locks of this node's clients, by number and by resource; what a new master is told of them.

import { type AgentLock, afterwards, afterwardsRanges } from './agent-lock.ts';
import type { Homes, RebuiltLock } from './homes.ts';
import type { LocalNode } from './local-node.ts';
import { Orphans } from './orphans.ts';
import type { Session } from './sessions.ts';

export class Copies {
  readonly #node: LocalNode;
  readonly #homes: Homes;
  readonly orphans = new Orphans();
  readonly #locks = new Map<number, AgentLock>();
  readonly #byKey = new Map<string, Set<AgentLock>>();
  #lastLkid: number;

  constructor(node: LocalNode, homes: Homes) {
    this.#node = node;
    this.#homes = homes;
    // Another life of this service counts from somewhere else.
    const life = Number.parseInt(node.ics.self.bootId.slice(0, 4), 16);
    this.#lastLkid = node.num * 2 ** 40 + life * 2 ** 24;
  }

  get size(): number {
    return this.#locks.size;
  }
  get(lkid: number): AgentLock | undefined {
    return this.#locks.get(lkid);
  }
  has(lock: AgentLock): boolean {
    return this.#locks.has(lock.lkid);
  }

  /** Numbers locks as no other life of this service in the same boot did. */
  countFrom(starts: number): void {
    this.#lastLkid = this.#node.num * 2 ** 40 + (starts % 2 ** 16) * 2 ** 24;
  }
  nextLkid(): number {
    return ++this.#lastLkid;
  }

  add(lock: AgentLock, parent: AgentLock | undefined): void {
    this.#putUnder(lock, parent);
    lock.session.locks.set(lock.ref, lock);
    this.#locks.set(lock.lkid, lock);
    const others = this.#byKey.get(lock.home.key);
    if (others) others.add(lock);
    else this.#byKey.set(lock.home.key, new Set([lock]));
  }

  drop(lock: AgentLock): void {
    if (!this.#locks.delete(lock.lkid)) return;
    const others = this.#byKey.get(lock.home.key);
    others?.delete(lock);
    if (others?.size === 0) this.#byKey.delete(lock.home.key);
    this.orphans.delete(lock);
    this.#putUnder(lock, undefined);
    if (lock.session.locks.get(lock.ref) === lock) lock.session.locks.delete(lock.ref);
    this.#homes.unuse(lock.home);
  }

  adopt(
    orphan: AgentLock,
    session: Session,
    ref: number,
    parent: AgentLock | undefined,
  ): AgentLock {
    this.orphans.delete(orphan);
    this.#putUnder(orphan, parent);
    orphan.session = session;
    orphan.who = session.who;
    orphan.ref = ref;
    orphan.opsBefore = orphan.op;
    session.locks.set(ref, orphan);
    return orphan;
  }

  /** Its owner is gone, and it stays; under no lock, since those above it may go. */
  orphan(lock: AgentLock): void {
    lock.session.locks.delete(lock.ref);
    this.#putUnder(lock, undefined);
    this.orphans.add(lock);
  }

  #putUnder(lock: AgentLock, parent: AgentLock | undefined): void {
    if (lock.parent) lock.parent.children--;
    lock.parent = parent;
    if (parent) parent.children++;
  }

  /** Its master is another one, or none, from now on. */
  masterFound(key: string): void {
    for (const lock of this.#byKey.get(key) ?? []) lock.pending?.wake();
  }

  /**
   * To a new master, for what it is to know. It has not more than that from now on, also where what is
   * pending is refused there.
   */
  fetched(key: string): RebuiltLock[] {
    this.masterFound(key);
    for (const lock of this.#byKey.get(key) ?? []) lock.ranges = afterwardsRanges(lock);
    return this.held(key);
  }

  /** What waits is asked for anew; what goes down is down already. */
  held(key: string): RebuiltLock[] {
    return [...(this.#byKey.get(key) ?? [])].flatMap((lock) => {
      const { granted, leaving } = lock;
      if (granted === undefined) return [];
      const pending = lock.pending?.told ? undefined : lock.pending;
      const ranges = afterwardsRanges(lock);
      const { mode, value, valueSeq, valueKnown } = afterwards(lock, granted, leaving ?? pending);
      return [
        {
          ...{ lkid: lock.lkid, op: pending ? lock.op - 1 || 1 : lock.op, mode, bast: lock.bast },
          ...(lock.token && { token: lock.token }),
          ...(value && { value }),
          ...(ranges.length > 0 && { ranges: [...ranges] }),
          ...{ valueSeq, valueKnown, who: lock.who },
        },
      ];
    });
  }
}
