// The resources that this node is master of: operations from the agents of all nodes, outcomes back to
// them, and what is rebuilt after a loss. [VMS DLM: resource master]
import {
  type dlm,
  fail,
  type LockMode,
  type LockOutcome,
  type LockRange,
  ok,
  pathOf,
  type Reply,
  type ReplyOf,
  type RequestOf,
  type ResourceInfo,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { SeenResource } from './deadlock.ts';
import { type Ast, grantPending, needsToken } from './grant.ts';
import type { LocalNode } from './local-node.ts';
import { rank, writesValue } from './modes.ts';
import { cancel, convert, purge, request, unlock } from './operations.ts';
import { enqueue, locksIn, type Queue } from './queue.ts';
import { blockersOf, keepRanges, lockRange, testRange } from './range-operations.ts';
import { endOf, farthest, lengthOf, type Segment } from './ranges.ts';
import {
  isUnused,
  type Lock,
  newLock,
  newResource,
  type Resource,
  type Token,
} from './resource.ts';
import { type Block, isNewer, nameOf, tokenText } from './tokens.ts';

export type AskRequest = RequestOf<typeof dlm.ops.ask>;
export type ReleaseRequest = RequestOf<typeof dlm.ops.release>;
export type RebuildRequest = RequestOf<typeof dlm.ops.rebuild>;
export type RebuildReply = ReplyOf<typeof dlm.ops.rebuild>;
type Rebuilt = RebuildReply['locks'][number];

/** A resource that nobody uses keeps its master for this long, and so many of them at most. */
export const idleMs = 10_000;
const idleMax = 10_000;
const retryMs = 20;
/** Resources in one question to a node for what it holds. */
const rebuildMax = 500;

interface HeldLock extends Lock {
  readonly node: number;
  /** Of the lock manager there. */
  readonly life: number;
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
  /** As its directory gave them out: their first names this mastership. */
  readonly tokens: Block;
  /** Nodes that have not said yet what they hold: nothing is granted meanwhile. */
  readonly awaited: Set<number>;
  recovering: PromiseWithResolvers<void> | undefined;
  /** Its value block is to be found among what others hold. */
  valueUnknown: boolean;
  /** Locks of a lock manager that was started again, and may have them still. */
  readonly doubtful: Map<number, LockMode>;
  idleSinceMs: number;
}

export interface MastersDeps {
  readonly node: LocalNode;
  /** To the agent of a node; order is kept. */
  readonly tell: (node: number, q: RequestOf<typeof dlm.ops.told>) => void;
  /** More tokens for a resource, from its directory. */
  readonly refill: (key: string) => Promise<Block>;
  /** A resource nobody uses is given up: resolves when the directory has forgotten it. */
  readonly forget: (key: string) => Promise<void>;
  /** What a node holds. */
  readonly rebuild: (node: number, q: RebuildRequest) => Promise<Reply<RebuildReply>>;
}

export class Masters {
  readonly #d: MastersDeps;
  readonly #table = new Map<string, Mastered>();
  readonly #forgetting = new Map<string, Promise<void>>();
  /** What is to be fetched from each node; there while somebody does. */
  readonly #wanted = new Map<number, Set<Mastered>>();
  readonly counters = { asked: 0, granted: 0, queued: 0, blocking: 0, deadlocks: 0, remastered: 0 };

  constructor(deps: MastersDeps) {
    this.#d = deps;
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
  create(key: string, block: Block, q: { recover: readonly number[]; valueLost: boolean }): void {
    let m = this.#table.get(key);
    if (!m) {
      m = {
        ...{ key, resource: newResource<HeldLock>(key, block), locks: new Map(), tokens: block },
        ...{ awaited: new Set(), recovering: undefined, doubtful: new Map() },
        ...{ valueUnknown: q.recover.length > 0, idleSinceMs: this.#d.node.clock.nowMs() },
      };
      m.resource.valueInvalid = q.valueLost;
      this.#table.set(key, m);
    }
    for (const num of q.recover) this.#fetch(m, num);
  }

  /** Whether nodes are being asked what they hold. */
  get fetching(): boolean {
    return this.#wanted.size > 0;
  }

  /** Nothing is granted before that node has said what it holds. */
  #fetch(m: Mastered, num: number): void {
    if (this.#d.node.lives.alive(num) === undefined) return;
    m.recovering ??= Promise.withResolvers();
    m.awaited.add(num);
    const wanted = this.#wanted.get(num);
    if (wanted) {
      wanted.add(m);
      return;
    }
    this.#wanted.set(num, new Set([m]));
    void this.#fetchAll(num);
  }

  async #fetchAll(num: number): Promise<void> {
    const { node } = this.#d;
    const wanted = this.#wanted.get(num) ?? new Set();
    await Promise.resolve(); // so that what is wanted at once is asked for at once
    while (wanted.size > 0 && !node.stopped) {
      const life = node.lives.alive(num);
      if (life === undefined || node.life === undefined) break;
      const some = [...wanted].slice(0, rebuildMax);
      for (const m of some) wanted.delete(m);
      const resources = some.map((m) => ({ key: m.key, since: nameOf(m.tokens) }));
      const reply = await this.#d.rebuild(num, { life: node.life, resources });
      const is = node.lives.alive(num);
      if (reply.ok && reply.value.life === is) {
        some.forEach((m, i) => {
          if (!wanted.has(m)) this.#fetched(m, num, is, reply.value.locks[i] ?? []);
        });
        continue;
      }
      for (const m of some) wanted.add(m);
      await sleep(node.clock, retryMs);
    }
    this.#wanted.delete(num);
    for (const m of wanted) this.#fetched(m, num, 0, []);
  }

  #fetched(m: Mastered, num: number, life: number, locks: Rebuilt): void {
    if (!m.awaited.delete(num)) return;
    for (const { ranges, ...one } of locks) {
      const { lkid, op, mode, bast, token, value, valueSeq, valueKnown, who } = one;
      if (m.locks.has(lkid)) continue;
      const rebuilt = { valueSeq, valueKnown, value };
      const lock: HeldLock = Object.assign(newLock(lkid, bast), {
        ...{ node: num, life, who, op, askedMs: 0, rebuilt, token, granted: mode },
        outcome: undefined,
      });
      m.locks.set(lkid, lock);
      enqueue(m.resource.granted, lock);
      if (ranges) keepRanges(m.resource, lock, ranges);
      const { tokens } = m.resource;
      if (token && isNewer(token, tokens.newest)) tokens.newest = token;
      // What it was giving up when its lock manager ended may not have got here.
      if (!m.valueUnknown && value && valueSeq > m.resource.valueSeq)
        Object.assign(m.resource, { value, valueSeq, valueInvalid: false });
    }
    if (m.awaited.size === 0) this.#recovered(m);
  }

  /** All have said what they hold: the value block is the best that is left, and grants go on. */
  #recovered(m: Mastered): void {
    const { resource, recovering } = m;
    m.recovering = undefined;
    if (m.valueUnknown) {
      this.counters.remastered++;
      recoverValue(resource, [...m.locks.values()]);
    }
    m.valueUnknown = false;
    for (const [lkid, mode] of m.doubtful)
      if (writesValue(mode) && !m.locks.has(lkid)) resource.valueInvalid = true;
    m.doubtful.clear();
    if (isUnused(resource)) m.idleSinceMs = this.#d.node.clock.nowMs();
    this.#settle(m, true);
    recovering?.resolve();
  }

  async ask(
    q: AskRequest,
    node: number,
    signal?: AbortSignal,
  ): Promise<Reply<LockOutcome, 'EREMCHG'>> {
    let m = this.#table.get(q.key);
    while (m?.recovering) {
      await m.recovering.promise;
      m = this.#table.get(q.key);
    }
    if (m && needsToken(m.resource, q.mode)) {
      await this.#refill(m);
      m = this.#table.get(q.key);
    }
    // An asker that gave up meanwhile may have released it: nobody would ever do so again.
    if (!m || signal?.aborted || this.#d.node.lives.isOver(node, q.life))
      return fail('EREMCHG', `node ${this.#d.node.num} is not the master of ${q.key}`);
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
    this.#deliver(m, asts, lock);
    const outcome = lock.outcome as LockOutcome | undefined;
    if (q.test && q.range && outcome?.state === 'granted')
      return { ...outcome, ...inTheWay(m, lock, q.range) };
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
        this.#tell(lock.node, { lkid, op, blocking: ast.mode });
        continue;
      }
      lock.outcome = outcomeOf(m.resource, ast);
      if (ast.type === 'granted') this.counters.granted++;
      else if (ast.errno === 'EDEADLK') this.counters.deadlocks++;
      if (lock.granted === undefined) m.locks.delete(lkid);
      if (lock !== answered) this.#tell(lock.node, { lkid, op, outcome: lock.outcome });
    }
    if (isUnused(m.resource)) m.idleSinceMs = this.#d.node.clock.nowMs();
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

  #tell(to: number, q: Omit<RequestOf<typeof dlm.ops.told>, 'life'>): void {
    const { life } = this.#d.node;
    if (life !== undefined) this.#d.tell(to, { life, ...q });
  }

  #settle(m: Mastered, recovered = false): void {
    const asts: Ast<HeldLock>[] = [];
    grantPending(m.resource, asts, recovered);
    this.#deliver(m, asts);
  }

  async release(
    q: ReleaseRequest,
  ): Promise<Reply<Record<string, never>, 'EREMCHG' | 'EBUSY' | 'ENOENT'>> {
    let m = this.#table.get(q.key);
    while (m?.recovering) {
      await m.recovering.promise;
      m = this.#table.get(q.key);
    }
    if (!m) return fail('EREMCHG', `node ${this.#d.node.num} is not the master of ${q.key}`);
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

  /**
   * Lives of a node's lock manager are over. Where another runs there, it may have the locks still: nothing is
   * granted before it has said so. Where the node is gone, after its fence, so are its locks.
   */
  gone(num: number): void {
    const { lives } = this.#d.node;
    const restarted = lives.alive(num) !== undefined;
    for (const m of this.#table.values()) {
      const gone = [...m.locks.values()].filter((l) => l.node === num && lives.isOver(num, l.life));
      for (const lock of gone) {
        const { valueInvalid } = m.resource;
        if (restarted && lock.granted !== undefined) m.doubtful.set(lock.lkid, lock.granted);
        purge(m.resource, lock);
        if (restarted) m.resource.valueInvalid = valueInvalid;
        m.locks.delete(lock.lkid);
      }
      if (gone.length > 0 && restarted) this.#fetch(m, num);
      else if (gone.length > 0 && !m.recovering) {
        if (isUnused(m.resource)) m.idleSinceMs = this.#d.node.clock.nowMs();
        this.#settle(m);
      }
    }
  }

  /** Gives up what nobody used for a while. */
  sweep(): void {
    const nowMs = this.#d.node.clock.nowMs();
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
    const nowMs = this.#d.node.clock.nowMs();
    const seen = (locks: readonly HeldLock[]): SeenResource['granted'] =>
      locks.map(({ lkid, op, who, granted, requested, flags, askedMs }) => ({
        ...{ lkid, op, flags, waitedMs: requested === undefined ? 0 : nowMs - askedMs },
        ...(who.xid !== undefined && { xid: who.xid }),
        ...(granted !== undefined && { held: granted }),
        ...(requested !== undefined && { requested }),
      }));
    return [...this.#table.values()]
      .filter((m) => !m.recovering && waits(m.resource))
      .map(({ key, resource: { granted, converting, waiting, ranges } }) => {
        const want = (ranges?.waiting ?? []).slice(0, seenMax);
        return {
          ...{ key, granted: seen([...firstOf(granted, seenMax), ...want.map((w) => w.lock)]) },
          converting: seen(firstOf(converting, seenMax)),
          waiting: seen(firstOf(waiting, seenMax)),
          ...(ranges && {
            ranges: want.map(({ lock, wish }) => ({
              ...{ lkid: lock.lkid, blockers: blockersOf(ranges, lock, wish) },
            })),
          }),
        };
      });
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
        ...named(m.key),
        master: this.#d.node.num,
        recovering: m.recovering !== undefined,
        valueInvalid,
        granted: infos(granted),
        converting: infos(converting),
        waiting: infos(waiting),
        ...rangeInfos(m),
      });
    }
    return { resources, truncated: false };
  }
}

function operate(
  r: Resource<HeldLock>,
  lock: HeldLock,
  q: AskRequest,
  asts: Ast<HeldLock>[],
): Reply<undefined, 'EINVAL' | 'EBUSY'> {
  const { range, flags } = q;
  if (!range) return (q.convert ? convert : request)(r, lock, q, asts);
  if (!q.convert) return fail('EINVAL', 'a byte range is for a lock that is held');
  // A test is told as if it were granted; what it found comes along.
  const wish = q.test ? { ...range, type: 'none' as const, length: 1, start: farthest } : range;
  return lockRange(r, lock, { range: wish, flags }, asts);
}

const heldRange = ({ start, write, ...rest }: Segment, lkid: number, pid?: number) => ({
  type: write ? ('write' as const) : ('read' as const),
  ...{ start, lkid, length: lengthOf({ start, write, ...rest }) },
  ...(pid !== undefined && { pid }),
});

function inTheWay(m: Mastered, lock: HeldLock, range: LockRange) {
  const found = testRange(m.resource, lock, range);
  if (!found) return {};
  return { inTheWay: heldRange(found.segment, found.lkid, m.locks.get(found.lkid)?.who.pid) };
}

const named = (key: string): Pick<ResourceInfo, 'resource' | 'parents'> => {
  const path = pathOf(key);
  const resource = path.at(-1) as string;
  return path.length > 1 ? { resource, parents: path.slice(0, -1) } : { resource };
};

function rangeInfos({ resource, locks }: Mastered): Pick<ResourceInfo, 'ranges'> {
  if (!resource.ranges) return {};
  const { held, waiting } = resource.ranges;
  const pidOf = (lkid: number) => locks.get(lkid)?.who.pid;
  const ranges = [
    ...[...held].flatMap(([lkid, segments]) =>
      segments.map((s) => ({ ...heldRange(s, lkid, pidOf(lkid)), waits: false })),
    ),
    ...waiting.map(({ lock, wish }) => {
      const segment = { start: wish.start, end: endOf(wish), write: wish.type === 'write' };
      return { ...heldRange(segment, lock.lkid, lock.who.pid), waits: true };
    }),
  ];
  return { ranges: ranges.slice(0, listedMax) };
}

const waits = (r: Resource): boolean =>
  r.converting.size + r.waiting.size + (r.ranges?.waiting.length ?? 0) > 0;

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
