// The resources that this node is master of: operations from the agents of all nodes, and outcomes back to
// them. [VMS DLM: resource master]
import {
  type dlm,
  fail,
  type LockOutcome,
  type MovedValue,
  ok,
  type Reply,
  type RequestOf,
  type ResourceInfo,
} from '@ssi/contracts';
import type { SeenResource } from './deadlock.ts';
import { Fetching, type FetchingDeps } from './fetching.ts';
import { type Ast, needsToken } from './grant.ts';
import {
  type AskRequest,
  giveUp,
  type HeldLock,
  inTheWay,
  type Mastered,
  newMastered,
  operate,
  type ReleaseRequest,
} from './mastered.ts';
import { Moving, type MovingDeps } from './moving.ts';
import { purge } from './operations.ts';
import { Outcomes, type OutcomesDeps } from './outcomes.ts';
import { pageOf } from './page.ts';
import { isUnused, newLock, type Token } from './resource.ts';
import { infoBytes, infoOf, seenBytes, seenOf, somebodyWaits } from './shown.ts';
import { type Block, nameOf } from './tokens.ts';

/** A resource that nobody uses keeps its master for this long, and so many of them at most. */
export const idleMs = 10_000;
const idleMax = 10_000;

export type MastersDeps = Pick<FetchingDeps, 'node' | 'rebuild'> &
  MovingDeps &
  OutcomesDeps & {
    /** A resource nobody uses is given up: resolves when the directory has forgotten it. */
    readonly forget: (key: string) => Promise<void>;
  };

interface NewMastership {
  readonly recover: readonly number[];
  readonly valueLost: boolean;
  readonly moved?: MovedValue | undefined;
}

export class Masters {
  readonly #d: MastersDeps;
  readonly #table = new Map<string, Mastered>();
  readonly #forgetting = new Map<string, Promise<void>>();
  readonly #outcomes: Outcomes;
  readonly fetching: Fetching;
  readonly moving: Moving;
  #asked = 0;

  constructor(deps: MastersDeps) {
    this.#d = deps;
    const { node, rebuild } = deps;
    this.#outcomes = new Outcomes(deps);
    this.fetching = new Fetching({
      ...{ node, rebuild },
      recovered: (m) => this.#outcomes.settle(m, true),
    });
    this.moving = new Moving(deps, (m) => this.#table.delete(m.key));
  }

  get counters(): Record<string, number> {
    return { asked: this.#asked, ...this.#outcomes.counters };
  }
  /** The name of the mastership; undefined: not master. */
  name(key: string): Token | undefined {
    const m = this.#table.get(key);
    return m && nameOf(m.tokens);
  }
  /** As the directory is to know it. */
  tokens(key: string): Block | undefined {
    return this.#table.get(key)?.tokens;
  }
  /** Until the directory knows that it was given up. */
  forgetting(key: string): Promise<void> | undefined {
    return this.#forgetting.get(key);
  }
  keys(): string[] {
    return [...this.#table.keys()];
  }
  get locks(): number {
    let n = 0;
    for (const m of this.#table.values()) n += m.locks.size;
    return n;
  }

  /** This node becomes master; it grants nothing before it has from all of `recover` what they hold. */
  create(key: string, block: Block, q: NewMastership): void {
    const { recover, valueLost, moved } = q;
    let m = this.#table.get(key);
    // Its directory has not heard yet that it goes, or speaks of before it went.
    if (m?.yielding || (!m && this.moving.isPast(key, nameOf(block)))) return;
    const isNew = !m;
    if (!m) {
      m = newMastered(key, block, this.#d.node.clock.nowMs());
      m.valueUnknown = recover.length > 0 && !moved;
      m.resource.valueInvalid = valueLost;
      if (moved) {
        m.movedMs = this.#d.node.clock.nowMs();
        Object.assign(m.resource, { value: moved.value, valueSeq: moved.valueSeq });
      }
      if (moved?.writer !== undefined) m.doubtful.set(moved.writer, 'EX');
      this.#table.set(key, m);
    }
    for (const num of recover) this.fetching.fetch(m, num);
    // Who could write it is dead already.
    if (isNew && !m.recovering && m.doubtful.size > 0) {
      m.doubtful.clear();
      m.resource.valueInvalid = true;
    }
  }

  /** Where nothing is granted for now, when it is again; undefined: not master. */
  async #serving(key: string): Promise<Mastered | undefined> {
    let m = this.#table.get(key);
    while (m?.recovering) {
      await m.recovering.promise;
      m = this.#table.get(key);
    }
    return m;
  }

  async ask(
    q: AskRequest,
    node: number,
    signal?: AbortSignal,
  ): Promise<Reply<LockOutcome, 'EREMCHG'>> {
    let m = this.#table.get(q.key);
    while (m && (m.recovering || needsToken(m.resource, q.mode))) {
      if (m.recovering) await m.recovering.promise;
      else await this.#outcomes.refill(m);
      m = this.#table.get(q.key);
    }
    // An asker that gave up meanwhile may have released it: nobody would ever do so again.
    if (!m || signal?.aborted || this.#d.node.lives.isOver(node, q.life))
      return fail('EREMCHG', `node ${this.#d.node.num} is not the master of ${q.key}`);
    const outcome = this.#ask(m, q, node);
    this.moving.count(m, node);
    return ok(outcome);
  }

  #ask(m: Mastered, q: AskRequest, node: number): LockOutcome {
    const known = m.locks.get(q.lkid);
    if (known && known.op >= q.op) return known.outcome ?? { state: 'queued' };
    const refused = this.#outcomes.refused(q);
    if (refused) return refused;
    this.#asked++;
    if (q.convert !== (known !== undefined))
      return {
        state: 'refused',
        errno: 'EINVAL',
        detail: `no lock ${q.lkid} of node ${node} here`,
      };
    const lock: HeldLock =
      known ??
      Object.assign(newLock(q.lkid, q.bast), {
        ...{ node, life: q.life, who: q.who, op: 0, askedMs: 0, outcome: undefined },
      });
    const op = lock.op;
    const asts: Ast<HeldLock>[] = [];
    lock.op = q.op;
    lock.askedMs = this.#d.node.clock.nowMs();
    lock.outcome = undefined;
    lock.bast = q.bast;
    lock.who = q.who;
    const done = operate(m.resource, lock, q, asts);
    if (!done.ok) {
      lock.op = op;
      return { state: 'refused', errno: done.errno, detail: done.detail };
    }
    if (!known) m.locks.set(q.lkid, lock);
    this.#outcomes.deliver(m, asts, lock);
    const outcome = lock.outcome as LockOutcome | undefined;
    if (q.test && q.range && outcome?.state === 'granted')
      return { ...outcome, ...inTheWay(m, lock, q.range) };
    if (!outcome) this.#outcomes.counters.queued++;
    return outcome ?? { state: 'queued' };
  }

  async release(
    q: ReleaseRequest,
  ): Promise<Reply<Record<string, never>, 'EREMCHG' | 'EBUSY' | 'ENOENT'>> {
    const m = await this.#serving(q.key);
    if (!m) return fail('EREMCHG', `node ${this.#d.node.num} is not the master of ${q.key}`);
    const lock = m.locks.get(q.lkid);
    if (!lock) return fail('ENOENT', `no lock ${q.lkid} here`);
    const asts: Ast<HeldLock>[] = [];
    const done = giveUp(m, lock, q, asts);
    if (!done.ok) return done;
    this.#outcomes.deliver(m, asts);
    this.moving.consider(m);
    return ok({});
  }

  /**
   * Lives of a node's lock manager are over. Where another runs there, it may have the locks still: nothing is
   * granted before it has said so. Where the node is gone, after its fence, so are its locks.
   */
  gone(num: number): void {
    const { lives } = this.#d.node;
    const restarted = lives.alive(num) !== undefined;
    for (const m of this.#table.values()) {
      // Its next master asks for itself those that were started again.
      if (m.yielding && restarted) continue;
      const gone = [...m.locks.values()].filter((l) => l.node === num && lives.isOver(num, l.life));
      for (const lock of gone) {
        const { valueInvalid } = m.resource;
        if (restarted && lock.granted !== undefined) m.doubtful.set(lock.lkid, lock.granted);
        purge(m.resource, lock);
        if (restarted) m.resource.valueInvalid = valueInvalid;
        m.locks.delete(lock.lkid);
      }
      if (gone.length > 0 && restarted) this.fetching.fetch(m, num);
      else if (gone.length > 0 && !m.recovering) {
        if (isUnused(m.resource)) m.idleSinceMs = this.#d.node.clock.nowMs();
        this.#outcomes.settle(m);
      }
    }
  }

  /** Gives up what nobody used for a while, and forgets what was refused long ago. */
  sweep(): void {
    const nowMs = this.#d.node.clock.nowMs();
    this.#outcomes.sweep(nowMs);
    this.moving.sweep();
    const idle = [...this.#table.values()].filter((m) => isUnused(m.resource) && !m.recovering);
    const excess = idle.length - idleMax;
    idle.forEach((m, i) => {
      if (i >= excess && nowMs - m.idleSinceMs < idleMs) return;
      this.#table.delete(m.key);
      const done = this.#d.forget(m.key).finally(() => this.#forgetting.delete(m.key));
      this.#forgetting.set(m.key, done);
    });
  }

  /**
   * For the search for deadlocks: resources where somebody waits, in order of their keys, those after `after`. What
   * is being rebuilt is left out: who waits there is not known.
   */
  waits(after = ''): { resources: SeenResource[]; more: boolean } {
    const nowMs = this.#d.node.clock.nowMs();
    const all = [...this.#table.values()].filter((m) => !m.recovering && somebodyWaits(m.resource));
    return pageOf(all, after, { show: (m) => seenOf(m, nowMs), bytesOf: seenBytes });
  }

  list(q: RequestOf<typeof dlm.ops.list>): { resources: ResourceInfo[]; truncated: boolean } {
    const { lockspace, after = '' } = q;
    const used = [...this.#table.values()].filter(
      ({ key, resource }) =>
        (lockspace === undefined || key.startsWith(`${lockspace}/`)) && !isUnused(resource),
    );
    const show = (m: Mastered): ResourceInfo => infoOf(m, this.#d.node.num);
    const { resources, more } = pageOf(used, after, { show, bytesOf: infoBytes });
    return { resources, truncated: more };
  }
}
