// What a session holds, as the next life of its lock manager is to be told of it (`resume`): each lock as of its
// last grant, in the order of first grants, so that a lock comes after the one that it is under.
import type { dlm, LockGrant, RequestOf } from '@ssi/contracts';

type LockRequest = RequestOf<typeof dlm.ops.lock>;
export type ResumedLock = RequestOf<typeof dlm.ops.resume>['locks'][number];
type Giving = NonNullable<ResumedLock['giving']>;

/** Locks in one `resume`, and pieces of byte ranges that go with them. */
const pageMax = 500;
const piecesMax = 5_000;

interface Held {
  readonly lock: ResumedLock;
  /** Under way to the lock manager; without a mode an unlock. */
  readonly giving?: Giving | undefined;
  readonly force?: boolean;
}

export class HeldLocks {
  readonly #held = new Map<number, Held>();

  has(ref: number): boolean {
    return this.#held.has(ref);
  }

  /** A grant has come. False: the lock has gone meanwhile, with one that it was under. */
  granted(q: LockRequest, grant: LockGrant): boolean {
    const { copy, mode, token, value } = grant;
    if (!copy) return true;
    const { ref, op, lockspace, resource, flags, xid, parent } = q;
    const before = this.#held.get(ref)?.lock;
    if (!before && (op > 1 || (parent !== undefined && !this.#held.has(parent)))) return false;
    const above = before?.parent ?? parent;
    const under = above !== undefined && {
      ...{ parent: above, parents: before?.parents ?? this.#pathOf(above) },
    };
    this.#held.set(ref, {
      lock: {
        ...{ ref, op, lockspace, resource, mode, copy, bast: q.bast ?? false },
        ...under,
        ...(token !== undefined && { token }),
        ...(value && { value }),
        persistent: before?.persistent ?? flags?.includes('PERSISTENT') ?? false,
        ...(xid !== undefined && { xid }),
      },
    });
    return true;
  }

  /** Names of the resources that one under this lock is under. */
  #pathOf(ref: number): string[] {
    const lock = this.#held.get(ref)?.lock;
    return lock ? [...(lock.parents ?? []), lock.resource] : [];
  }

  /** It failed, and counts as an operation all the same. */
  refused(ref: number, op: number): void {
    const held = this.#held.get(ref);
    if (held) this.#held.set(ref, { lock: { ...held.lock, op } });
  }

  /** It is asked for another mode or range; what goes down counts as done where that is cut short. */
  converting(ref: number, { mode, flags = [], value, range, test }: LockRequest): void {
    const wanted = range && !test && { range };
    this.#gives(ref, { mode, flags: [...flags], ...(value && { value }), ...wanted }, false);
  }

  unlocking(ref: number, giving: Omit<Giving, 'mode'>, force: boolean): void {
    this.#gives(ref, giving, force);
  }

  #gives(ref: number, giving: Giving, force: boolean): void {
    const held = this.#held.get(ref);
    if (held) this.#held.set(ref, { lock: held.lock, giving, force });
  }

  /** It is held as before. */
  stays(ref: number): void {
    const held = this.#held.get(ref);
    if (held) this.#held.set(ref, { lock: held.lock });
  }

  /** It is gone, with all that were under it: their numbers. */
  gone(ref: number): number[] {
    const gone = new Set([ref]);
    for (const { lock } of this.#held.values())
      if (lock.parent !== undefined && gone.has(lock.parent)) gone.add(lock.ref);
    for (const one of gone) this.#held.delete(one);
    return [...gone];
  }

  /** What the lock manager is told, in pages. */
  pages(): ResumedLock[][] {
    const parents = new Set([...this.#held.values()].map(({ lock }) => lock.parent));
    const going = new Set<number>();
    let page: ResumedLock[] = [];
    let pieces = 0;
    const pages = [page];
    for (const held of this.#held.values()) {
      const { lock } = held;
      const more = lock.copy.ranges?.length ?? 0;
      if (page.length >= pageMax || (pieces + more > piecesMax && page.length > 0)) {
        page = [];
        pieces = 0;
        pages.push(page);
      }
      const goes = lock.parent !== undefined && going.has(lock.parent);
      const giving = givingOf(held, goes, parents.has(lock.ref));
      if (giving && giving.mode === undefined) going.add(lock.ref);
      page.push({ ...lock, ...(giving && { giving }) });
      pieces += more;
    }
    return pages;
  }
}

/** What goes by force takes along what is under it; without, it stays for that. */
function givingOf({ giving, force }: Held, goes: boolean, hasUnder: boolean): Giving | undefined {
  const unlocks = giving !== undefined && giving.mode === undefined;
  if (goes) return unlocks ? giving : { flags: [] };
  return unlocks && hasUnder && !force ? undefined : giving;
}
