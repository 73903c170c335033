// The resources that this node is master of: operations from the agents of all nodes, outcomes back to
// them, and what is rebuilt after a loss. [VMS DLM: resource master]
import {
  type dlm,
  fail,
  type LockMode,
  type LockOutcome,
  ok,
  type Reply,
  type RequestOf,
  type ResourceInfo,
} from '@ssi/contracts';
import type { Clock } from '@ssi/ports';
import type { SeenResource } from './deadlock.ts';
import { type Ast, grantPending, needsToken } from './grant.ts';
import { rank } from './modes.ts';
import { cancel, convert, purge, request, unlock } from './operations.ts';
import { enqueue, locksIn, type Queue } from './queue.ts';
import {
  isUnused,
  type Lock,
  newLock,
  newResource,
  type Resource,
  type Token,
} from './resource.ts';
import type { Block } from './tokens.ts';
import { tokenText } from './tokens.ts';

export type AskRequest = RequestOf<typeof dlm.ops.ask>;
export type ReleaseRequest = RequestOf<typeof dlm.ops.release>;
export type RebuildRequest = RequestOf<typeof dlm.ops.rebuild>;

/** A resource that nobody uses keeps its master for this long, and so many of them at most. */
export const idleMs = 10_000;
const idleMax = 10_000;

interface HeldLock extends Lock {
  readonly node: number;
  who: AskRequest['who'];
  op: number;
  /** When that operation came in. */
  askedMs: number;
  outcome: LockOutcome | undefined;
  /** What came with it when it was rebuilt. */
  rebuilt?: {
    readonly valueSeq: number;
    readonly valueKnown: boolean;
    readonly value?: Uint8Array | undefined;
  };
}

interface Mastered {
  readonly key: string;
  readonly resource: Resource<HeldLock>;
  readonly locks: Map<number, HeldLock>;
  /** While it is rebuilt: nothing is granted. */
  recovering: Promise<void> | undefined;
  /** Was it made where another master had been lost? */
  remastered: boolean;
  idleSinceMs: number;
}

export interface MastersDeps {
  readonly clock: Clock;
  readonly num: number;
  /** To the agent of a node; order is kept. */
  readonly tell: (node: number, q: RequestOf<typeof dlm.ops.told>) => void;
  /** More tokens for a resource, from its directory. */
  readonly refill: (key: string) => Promise<Block>;
  /** A resource nobody uses is given up: resolves when the directory has forgotten it. */
  readonly forget: (key: string) => Promise<void>;
}

export class Masters {
  readonly #d: MastersDeps;
  readonly #table = new Map<string, Mastered>();
  readonly #forgetting = new Map<string, Promise<void>>();
  readonly counters = { asked: 0, granted: 0, queued: 0, blocking: 0, deadlocks: 0, remastered: 0 };

  constructor(deps: MastersDeps) {
    this.#d = deps;
  }

  has(key: string): boolean {
    return this.#table.has(key);
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

  /** This node becomes master; until `barrier` resolves it only gathers what was. */
  create(
    key: string,
    block: Block,
    q: { barrier?: Promise<void>; valueLost?: boolean } = {},
  ): void {
    if (this.#table.has(key)) return;
    const mastered: Mastered = {
      key,
      resource: newResource<HeldLock>(key, block),
      locks: new Map(),
      recovering: undefined,
      remastered: q.valueLost ?? false,
      idleSinceMs: this.#d.clock.nowMs(),
    };
    this.#table.set(key, mastered);
    if (!q.barrier) {
      if (mastered.remastered) mastered.resource.valueInvalid = true;
      return;
    }
    mastered.recovering = q.barrier.then(() => this.#recovered(mastered));
  }

  async ask(
    q: AskRequest,
    node: number,
    signal?: AbortSignal,
  ): Promise<Reply<LockOutcome, 'EREMCHG'>> {
    let m = this.#table.get(q.key);
    while (m?.recovering) {
      await m.recovering;
      m = this.#table.get(q.key);
    }
    if (m && needsToken(m.resource, q.mode)) {
      await this.#refill(m);
      m = this.#table.get(q.key);
    }
    // An asker that gave up meanwhile may have released it: nobody would ever do so again.
    if (!m || signal?.aborted)
      return fail('EREMCHG', `node ${this.#d.num} is not the master of ${q.key}`);
    return ok(this.#ask(m, q, node));
  }

  #ask(m: Mastered, q: AskRequest, node: number): LockOutcome {
    const known = m.locks.get(q.lkid);
    if (known && known.op >= q.op) return known.outcome ?? { state: 'queued' };
    this.counters.asked++;
    if (q.convert !== (known !== undefined))
      return {
        state: 'refused',
        errno: 'EINVAL',
        detail: `no lock ${q.lkid} of node ${node} here`,
      };
    const lock: HeldLock =
      known ??
      Object.assign(newLock(q.lkid, q.bast), {
        ...{ node, who: q.who, op: 0, askedMs: 0, outcome: undefined },
      });
    const op = lock.op;
    const asts: Ast<HeldLock>[] = [];
    lock.op = q.op;
    lock.askedMs = this.#d.clock.nowMs();
    lock.outcome = undefined;
    lock.bast = q.bast;
    lock.who = q.who;
    const done = (q.convert ? convert : request)(m.resource, lock, q, asts);
    if (!done.ok) {
      lock.op = op;
      return { state: 'refused', errno: done.errno, detail: done.detail };
    }
    if (!known) m.locks.set(q.lkid, lock);
    this.#deliver(m, asts, lock);
    const outcome = lock.outcome as LockOutcome | undefined;
    if (!outcome) this.counters.queued++;
    return outcome ?? { state: 'queued' };
  }

  /** `answered`: its outcome goes out as the reply. */
  #deliver(m: Mastered, asts: readonly Ast<HeldLock>[], answered?: HeldLock): void {
    for (const ast of asts) {
      const { lock } = ast;
      const { lkid, op } = lock;
      if (ast.type === 'blocking') {
        this.counters.blocking++;
        this.#d.tell(lock.node, { lkid, op, blocking: ast.mode });
        continue;
      }
      lock.outcome = outcomeOf(m.resource, ast);
      if (ast.type === 'granted') this.counters.granted++;
      else if (ast.errno === 'EDEADLK') this.counters.deadlocks++;
      if (lock.granted === undefined) m.locks.delete(lkid);
      if (lock !== answered) this.#d.tell(lock.node, { lkid, op, outcome: lock.outcome });
    }
    if (isUnused(m.resource)) m.idleSinceMs = this.#d.clock.nowMs();
    // Somebody waits for nothing but a token.
    else if (m.resource.tokens.next > m.resource.tokens.last && waits(m.resource))
      void this.#refill(m);
  }

  async #refill(m: Mastered): Promise<void> {
    const block = await this.#d.refill(m.key);
    const { tokens } = m.resource;
    if (tokens.next > tokens.last) {
      tokens.transid = block.transid;
      tokens.next = block.first;
      tokens.last = block.last;
    }
    if (!m.recovering) this.#settle(m);
  }

  #settle(m: Mastered, recovered = false): void {
    const asts: Ast<HeldLock>[] = [];
    grantPending(m.resource, asts, recovered);
    this.#deliver(m, asts);
  }

  async release(
    q: ReleaseRequest,
  ): Promise<Reply<Record<string, never>, 'EREMCHG' | 'EBUSY' | 'ENOENT'>> {
    const m = this.#table.get(q.key);
    if (!m) return fail('EREMCHG', `node ${this.#d.num} is not the master of ${q.key}`);
    if (m.recovering) await m.recovering;
    const lock = m.locks.get(q.lkid);
    if (!lock) return fail('ENOENT', `no lock ${q.lkid} here`);
    const asts: Ast<HeldLock>[] = [];
    if (q.cancel) {
      if (lock.op !== q.op) return fail('EBUSY', 'that operation is over');
      const done = cancel(m.resource, lock, q.cancel, asts);
      if (!done.ok) return done;
    } else if (q.died) {
      if (lock.requested !== undefined) cancel(m.resource, lock, 'ECANCELED', asts);
      if (lock.granted !== undefined) purge(m.resource, lock);
      grantPending(m.resource, asts);
      m.locks.delete(q.lkid);
    } else {
      const done = unlock(m.resource, lock, q, asts);
      if (!done.ok) return done;
      m.locks.delete(q.lkid);
    }
    this.#deliver(m, asts);
    return ok({});
  }

  /** Locks of which another master knew. */
  rebuild(q: RebuildRequest, node: number): Reply<Record<string, never>, 'EREMCHG'> {
    const m = this.#table.get(q.key);
    if (!m) return fail('EREMCHG', `node ${this.#d.num} is not the master of ${q.key}`);
    m.remastered = true;
    for (const { lkid, op, mode, bast, token, value, valueSeq, valueKnown, who } of q.locks) {
      if (m.locks.has(lkid)) continue;
      const rebuilt = { valueSeq, valueKnown, value };
      const lock: HeldLock = Object.assign(newLock(lkid, bast), {
        ...{ node, who, op, askedMs: 0, rebuilt, token, granted: mode },
        outcome: undefined,
      });
      m.locks.set(lkid, lock);
      enqueue(m.resource.granted, lock);
      const { tokens } = m.resource;
      if (token && isNewer(token, tokens.newest)) tokens.newest = token;
    }
    return ok({});
  }

  /** All nodes have sent what they held: the value block is the best that is left, and grants go on. */
  #recovered(m: Mastered): void {
    m.recovering = undefined;
    if (m.remastered) {
      this.counters.remastered++;
      recoverValue(m.resource, [...m.locks.values()]);
    }
    this.#settle(m, true);
  }

  /** The locks of a node that is gone, after its fence. */
  purgeNode(node: number): void {
    for (const m of this.#table.values()) {
      const gone = [...m.locks.values()].filter((lock) => lock.node === node);
      if (gone.length === 0) continue;
      for (const lock of gone) {
        purge(m.resource, lock);
        m.locks.delete(lock.lkid);
      }
      if (isUnused(m.resource)) m.idleSinceMs = this.#d.clock.nowMs();
      if (!m.recovering) this.#settle(m);
    }
  }

  /** Gives up what nobody used for a while. */
  sweep(): void {
    const nowMs = this.#d.clock.nowMs();
    const idle = [...this.#table.values()].filter((m) => isUnused(m.resource) && !m.recovering);
    const excess = idle.length - idleMax;
    idle.forEach((m, i) => {
      if (i >= excess && nowMs - m.idleSinceMs < idleMs) return;
      this.#table.delete(m.key);
      const done = this.#d.forget(m.key).finally(() => this.#forgetting.delete(m.key));
      this.#forgetting.set(m.key, done);
    });
  }

  /** For the search for deadlocks. What is being rebuilt is left out: who waits there is not known. */
  waits(): SeenResource[] {
    const nowMs = this.#d.clock.nowMs();
    const seen = (queue: Queue<HeldLock>): SeenResource['granted'] =>
      firstOf(queue, seenMax).map(({ lkid, op, who, granted, requested, flags, askedMs }) => ({
        ...{ lkid, op, flags, waitedMs: requested === undefined ? 0 : nowMs - askedMs },
        ...(who.xid !== undefined && { xid: who.xid }),
        ...(granted !== undefined && { held: granted }),
        ...(requested !== undefined && { requested }),
      }));
    return [...this.#table.values()]
      .filter((m) => !m.recovering && waits(m.resource))
      .map(({ key, resource: { granted, converting, waiting } }) => ({
        ...{ key, granted: seen(granted) },
        ...{ converting: seen(converting), waiting: seen(waiting) },
      }));
  }

  list(
    lockspace: string | undefined,
    max: number,
  ): { resources: ResourceInfo[]; truncated: boolean } {
    const resources: ResourceInfo[] = [];
    for (const m of this.#table.values()) {
      const cut = m.key.indexOf('/');
      if (lockspace !== undefined && m.key.slice(0, cut) !== lockspace) continue;
      if (isUnused(m.resource)) continue;
      if (resources.length >= max) return { resources, truncated: true };
      const { granted, converting, waiting, valueInvalid } = m.resource;
      resources.push({
        lockspace: m.key.slice(0, cut),
        resource: m.key.slice(cut + 1),
        master: this.#d.num,
        recovering: m.recovering !== undefined,
        valueInvalid,
        granted: infos(granted),
        converting: infos(converting),
        waiting: infos(waiting),
      });
    }
    return { resources, truncated: false };
  }
}

const isNewer = (a: Token, b: Token): boolean =>
  a.transid > b.transid || (a.transid === b.transid && a.n > b.n);

const waits = (r: Resource): boolean => r.converting.size + r.waiting.size > 0;

/** Of each queue; who is behind these is looked at when it has come forward. */
const seenMax = 1_000;

function firstOf(queue: Queue<HeldLock>, max: number): HeldLock[] {
  const first: HeldLock[] = [];
  for (const lock of locksIn(queue)) {
    if (first.length >= max) break;
    first.push(lock);
  }
  return first;
}

/** So many locks of one queue are listed; the rest is a number too many for anybody to read. */
const listedMax = 1_000;

function infos(queue: Queue<HeldLock>): ResourceInfo['granted'] {
  return firstOf(queue, listedMax).map(({ lkid, node, who, granted, requested, token }) => ({
    ...{ lkid, node, ...who },
    ...(granted !== undefined && { granted }),
    ...(requested !== undefined && { requested }),
    ...(token && { token: tokenText(token) }),
  }));
}

function outcomeOf(r: Resource, ast: Exclude<Ast<HeldLock>, { type: 'blocking' }>): LockOutcome {
  if (ast.type === 'refused')
    return { state: 'refused', errno: ast.errno, detail: refusalText[ast.errno] };
  const { lock, value, valueInvalid, altMode, demoted } = ast;
  return {
    state: 'granted',
    mode: lock.granted as LockMode,
    ...(lock.token && { token: { ...lock.token } }),
    ...(value && { value }),
    valueSeq: r.valueSeq,
    ...{ valueInvalid, altMode, demoted },
  };
}

const refusalText = {
  EAGAIN: 'another lock is in the way, and NOQUEUE was asked for',
  EDEADLK: 'it would wait for a conversion that waits for it; give the lock up, or try again',
  ECANCELED: 'cancelled',
  ETIMEDOUT: 'not granted in the time given',
} as const;

/**
 * The value block after its master was lost: the newest copy. It is valid only where a lock above CR is
 * left that knows it: no writer can have been beside that one. [fs/dlm/recover.c: recover_lvb]
 */
function recoverValue(r: Resource, locks: readonly HeldLock[]): void {
  let valid = false;
  for (const { granted, rebuilt } of locks) {
    if (!rebuilt) continue;
    if (granted && rank[granted] > rank.CR && rebuilt.valueKnown) valid = true;
    if (rebuilt.value && rebuilt.valueSeq >= r.valueSeq) {
      r.value = rebuilt.value;
      r.valueSeq = rebuilt.valueSeq;
    }
  }
  r.valueInvalid = !valid;
}
