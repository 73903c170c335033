// Locks for a program: a session with the lock manager of one node, kept alive for as long as the
// lockspace is open. When it is lost (that node died, or nobody heard of us for too long) all locks are:
// `lost` fires, and what their tokens guard refuses us. [libdlm; services/dlm]
import {
  dlm,
  type Errno,
  fail,
  type LockFlag,
  type LockGrant,
  type LockMode,
  type LockRange,
  ok,
  type Reply,
  type RequestOf,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { HeldLocks } from './held-locks.ts';
import { homeNode } from './home-node.ts';
import type { ClientLink } from './link.ts';
import { ownPid } from './own-process.ts';
import { clientRandom } from './random.ts';
import type { ViewSource } from './view-source.ts';

export interface LockspaceOptions {
  /** Whose lock manager keeps the locks; absent: the node this process is on, else an UP one. */
  readonly node?: number;
  /** For people: who this is. */
  readonly label?: string;
  /** Process of the cluster that the locks belong to: they go when it ends. Absent: this one, where it is one. */
  readonly pid?: number;
  /** Transaction of its locks, where they name none themselves. */
  readonly xid?: string;
  /** Ends the opening: ECANCELED. */
  readonly signal?: AbortSignal;
}

export interface LockOptions {
  readonly flags?: readonly LockFlag[];
  /** With VALBLK: what a conversion down writes; 64 bytes at most. */
  readonly value?: Uint8Array;
  /** Longest wait, ms; absent: for ever. */
  readonly timeoutMs?: number;
  /**
   * Transaction: locks with the same one, of whatever lockspace and node, belong to one that does one thing
   * at a time. In a deadlock over several resources one of those in it gets EDEADLK. 1-64 of [A-Za-z0-9_.-].
   */
  readonly xid?: string;
  /** Cancels what waits: ECANCELED. */
  readonly signal?: AbortSignal;
  /** A held lock of this lockspace: the resource is one under that lock's. Give the lower one up first. */
  readonly parent?: Lock;
  /** Bytes of the resource, for a conversion; see `openRanges`. */
  readonly range?: LockRange;
  /** Only looks whether the range could be had. */
  readonly test?: boolean;
  /** Blocking AST: another waits for `mode`, which this lock stands in the way of. */
  readonly onBlocking?: (mode: LockMode) => void;
}

/** A lock that is held. */
export interface Lock extends LockGrant {
  readonly resource: string;
  readonly ref: number;
}

export interface UnlockOptions {
  readonly flags?: readonly ('VALBLK' | 'IVVALBLK')[];
  readonly value?: Uint8Array;
  readonly force?: boolean;
}

export interface Lockspace {
  readonly name: string;
  readonly node: number;
  /** Locks that it holds or waits for. */
  readonly size: number;
  /** Fires when all locks are lost; `reason` says why. */
  readonly lost: AbortSignal;
  /** EAGAIN NOQUEUE; EDEADLK; ETIMEDOUT; ECANCELED; EINVAL; ESRCH the session is lost; ENOENT no orphan. */
  lock(resource: string, mode: LockMode, options?: LockOptions): Promise<Reply<Lock>>;
  /** Another mode for a held lock; with an errno it is held as before. */
  convert(lock: Lock, mode: LockMode, options?: LockOptions): Promise<Reply<Lock>>;
  unlock(lock: Lock, options?: UnlockOptions): Promise<Reply<undefined>>;
  /** Runs `fn` under a lock. Its signal fires when the lock is lost: stop then, and write with the token only. */
  withLock<T>(
    resource: string,
    mode: LockMode,
    fn: (lock: Lock, signal: AbortSignal) => Promise<T>,
    options?: LockOptions,
  ): Promise<Reply<T>>;
  /**
   * Gives up what nobody adopted of the PERSISTENT locks that owners left behind at a node (absent: that of
   * this lockspace); with `pid` only of that process. How many these were.
   */
  purge(of?: { readonly node?: number; readonly pid?: number }): Promise<Reply<number>>;
  /** Gives all locks up, but for PERSISTENT ones. Idempotent. */
  close(): Promise<void>;
}

const retryMs = 50;
const openMs = 10_000;
/** One question of a session that lasts longer. */
const askedMs = 10_000;
/** No call lasts longer; a lock that is waited for without `timeoutMs` ends with ETIMEDOUT after it. */
const longestMs = 20 * 86_400_000;

type Link = Pick<ClientLink, 'ics' | 'clock' | 'seeds'>;
type Views = Pick<ViewSource, 'refresh' | 'watch'>;

/** `id`: of the session. EHOSTDOWN: that node is not UP; EAGAIN: its lock manager is not ready in time. */
export async function openLockspace(
  link: Link,
  views: Views,
  name: string,
  options: LockspaceOptions = {},
  id: string = clientRandom.hex(8),
): Promise<Reply<Lockspace>> {
  const node = await homeNode(link, views, options.node);
  if (!node.ok) return node;
  const opened = new Session(link, views, name, node.value, id, options);
  const done = await opened.open(options.signal);
  return done.ok ? ok(opened) : done;
}

type LockRequest = RequestOf<typeof dlm.ops.lock>;

class Session implements Lockspace {
  readonly name: string;
  readonly node: number;
  readonly #link: Link;
  readonly #id: string;
  readonly #who: { readonly pid?: number; readonly label?: string };
  readonly #xid: string | undefined;
  readonly #lost = new AbortController();
  readonly #watch: { stop(): void };
  readonly #ops = new Map<number, number>();
  readonly #held = new HeldLocks();
  #resuming: Promise<void> | undefined;
  #keptMs = 0;
  readonly #onBlocking = new Map<number, (mode: LockMode) => void>();
  #lastRef = 0;
  #sessionMs = 0;
  #closed = false;

  constructor(
    link: Link,
    views: Views,
    name: string,
    node: number,
    id: string,
    { label, pid = ownPid(), xid }: LockspaceOptions,
  ) {
    this.#link = link;
    this.name = name;
    this.node = node;
    this.#who = { ...(label !== undefined && { label }), ...(pid !== undefined && { pid }) };
    this.#xid = xid;
    this.#id = id;
    // A call to a node that dies without a word ends because the view says so.
    this.#watch = views.watch();
  }

  get size(): number {
    return this.#ops.size;
  }
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async open(signal: AbortSignal | undefined): Promise<Reply<undefined>> {
    const { clock, ics } = this.#link;
    const endMs = clock.nowMs() + openMs;
    const request: RequestOf<typeof dlm.ops.asts> = {
      ...{ session: this.#id, open: true, after: 0 },
      ...this.#who,
    };
    for (;;) {
      const sentMs = clock.nowMs();
      const reply = await ics.call(dlm, 'asts', this.node, request, {
        timeoutMs: Math.max(1, endMs - sentMs),
        waitForServer: true,
        ...(signal && { signal }),
      });
      if (reply.ok) {
        this.#sessionMs = reply.value.sessionMs;
        void this.#follow(sentMs);
        return ok();
      }
      if (reply.errno !== 'EAGAIN' || clock.nowMs() >= endMs) {
        this.#watch.stop();
        return reply;
      }
      await sleep(clock, retryMs);
    }
  }

  /** Hears what is blocked, which is also what keeps the session. */
  async #follow(openedMs: number): Promise<void> {
    const { clock, ics } = this.#link;
    this.#keptMs = openedMs;
    let after = 0;
    while (!this.#closed && !this.lost.aborted) {
      const sentMs = clock.nowMs();
      const left = this.#keptMs + this.#sessionMs - sentMs;
      if (left <= 0) return this.#lose('nobody at the node heard of us in time');
      const request = { session: this.#id, after };
      const timeoutMs = Math.min(left, askedMs);
      const reply = await ics.call(dlm, 'asts', this.node, request, { timeoutMs });
      if (reply.ok) {
        this.#keptMs = sentMs;
        this.#sessionMs = reply.value.sessionMs;
        for (const { seq, ref, mode } of reply.value.blocking) {
          after = Math.max(after, seq);
          this.#onBlocking.get(ref)?.(mode);
        }
      } else if (reply.errno === 'ESRCH' || reply.errno === 'EHOSTDOWN') this.#lose(reply.detail);
      else if (reply.errno === 'EREMCHG') {
        after = 0; // the next life counts anew
        await this.#resume();
      } else await sleep(clock, retryMs);
    }
  }

  /** The lock manager was started again: it is told what is held here. */
  #resume(): Promise<void> {
    this.#resuming ??= this.#tellHeld().finally(() => {
      this.#resuming = undefined;
    });
    return this.#resuming;
  }

  async #tellHeld(): Promise<void> {
    const { clock, ics } = this.#link;
    const pages = this.#held.pages();
    for (let at = 0; !this.#closed && !this.lost.aborted; ) {
      const sentMs = clock.nowMs();
      if (sentMs >= this.#keptMs + this.#sessionMs) return; // `follow` says so
      const reply = await ics.call(dlm, 'resume', this.node, {
        session: this.#id,
        ...this.#who,
        locks: pages[at] ?? [],
        more: at + 1 < pages.length,
      });
      if (reply.ok) {
        at += 1;
        if (at < pages.length) continue;
        this.#keptMs = sentMs;
        return;
      }
      if (reply.errno === 'ESRCH' || reply.errno === 'EHOSTDOWN') return this.#lose(reply.detail);
      await sleep(clock, retryMs);
    }
  }

  #lose(why: string): void {
    this.#watch.stop();
    if (!this.#closed) this.#lost.abort(new Error(`ESRCH ${why}`));
  }

  lock(resource: string, mode: LockMode, options: LockOptions = {}): Promise<Reply<Lock>> {
    return this.#ask(++this.#lastRef, resource, mode, options);
  }

  convert(lock: Lock, mode: LockMode, options: LockOptions = {}): Promise<Reply<Lock>> {
    return this.#ask(lock.ref, lock.resource, mode, options);
  }

  async #ask(
    ref: number,
    resource: string,
    mode: LockMode,
    options: LockOptions,
  ): Promise<Reply<Lock>> {
    const {
      timeoutMs,
      signal,
      onBlocking,
      value,
      flags = [],
      xid = this.#xid,
      range,
      test,
      parent,
    } = options;
    const op = (this.#ops.get(ref) ?? 0) + 1;
    this.#ops.set(ref, op);
    if (onBlocking) this.#onBlocking.set(ref, onBlocking);
    const request: LockRequest = {
      ...{ session: this.#id, ref, op, lockspace: this.name, resource, mode, flags: [...flags] },
      ...(value && { value }),
      ...(timeoutMs !== undefined && { waitMs: timeoutMs }),
      ...(xid !== undefined && { xid }),
      ...(range && { range }),
      ...(parent && { parent: parent.ref }),
      ...(test !== undefined && { test }),
      bast: this.#onBlocking.has(ref),
    };
    const cancel = (): void => void this.#call('cancel', { session: this.#id, ref });
    signal?.addEventListener('abort', cancel);
    if (signal?.aborted) cancel();
    this.#held.converting(ref, request);
    const reply = await this.#untilAnswered(request);
    signal?.removeEventListener('abort', cancel);
    if (reply.ok && this.#held.granted(request, reply.value))
      return ok({ ...reply.value, resource, ref });
    if (op === 1) this.#forget(ref);
    if (reply.ok) return fail('ECANCELED', 'the lock that it was under was given up by force');
    this.#held.refused(ref, op);
    return reply;
  }

  /** The operation has a number: to ask again is harmless. */
  async #untilAnswered(request: LockRequest): Promise<Reply<LockGrant, Errno>> {
    const { clock, ics } = this.#link;
    const { waitMs = longestMs } = request;
    const endMs = clock.nowMs() + waitMs;
    for (;;) {
      if (this.lost.aborted || this.#closed) return fail('ESRCH', 'the session is over');
      const left = Math.max(0, Math.floor(endMs - clock.nowMs()));
      const q = request.waitMs === undefined ? request : { ...request, waitMs: left };
      const options = { timeoutMs: longestMs, signal: this.lost };
      const reply = await ics.call(dlm, 'lock', this.node, q, options);
      if (reply.ok) return reply;
      // Not the word of the lock manager, which knows how long it waited: it ended meanwhile.
      const broken = reply.errno === 'ETIMEDOUT' && clock.nowMs() < endMs;
      const away = reply.errno === 'EHOSTUNREACH' || reply.errno === 'ESTALE';
      if (reply.errno === 'EREMCHG') await this.#resume();
      else if (!broken && !away) return reply;
      await sleep(clock, retryMs);
    }
  }

  async #call<K extends 'unlock' | 'cancel'>(
    op: K,
    request: RequestOf<(typeof dlm.ops)[K]>,
  ): Promise<Reply<unknown>> {
    for (;;) {
      if (this.lost.aborted || this.#closed) return fail('ESRCH', 'the session is over');
      const reply = await this.#link.ics.call(dlm, op, this.node, request as never);
      if (!reply.ok && reply.errno === 'EREMCHG') await this.#resume();
      else if (reply.ok || !['EHOSTUNREACH', 'ETIMEDOUT', 'ESTALE'].includes(reply.errno))
        return reply;
      await sleep(this.#link.clock, retryMs);
    }
  }

  async unlock(lock: Lock, options: UnlockOptions = {}): Promise<Reply<undefined>> {
    const { flags, value, force } = options;
    const held = this.#held.has(lock.ref);
    const giving = { flags: [...(flags ?? [])], ...(value && { value }) };
    this.#held.unlocking(lock.ref, giving, force ?? false);
    const reply = await this.#call('unlock', {
      ...{ session: this.#id, ref: lock.ref },
      ...(flags && { flags: [...flags] }),
      ...(value && { value }),
      ...(force !== undefined && { force }),
    });
    // A next life of the lock manager may have given it up already: it was told to.
    if (!reply.ok && !(held && reply.errno === 'ENOENT')) {
      this.#held.stays(lock.ref);
      return reply;
    }
    this.#forget(lock.ref);
    return ok();
  }

  async purge(of: { node?: number; pid?: number } = {}): Promise<Reply<number>> {
    const { node = this.node, pid } = of;
    const request = { lockspace: this.name, ...(pid !== undefined && { pid }) };
    const reply = await this.#link.ics.call(dlm, 'purge', node, request);
    return reply.ok ? ok(reply.value.purged) : reply;
  }

  #forget(ref: number): void {
    for (const gone of this.#held.gone(ref)) {
      this.#ops.delete(gone);
      this.#onBlocking.delete(gone);
    }
  }

  async withLock<T>(
    resource: string,
    mode: LockMode,
    fn: (lock: Lock, signal: AbortSignal) => Promise<T>,
    options: LockOptions = {},
  ): Promise<Reply<T>> {
    const lock = await this.lock(resource, mode, options);
    if (!lock.ok) return lock;
    const { signal } = options;
    const both = signal ? AbortSignal.any([signal, this.lost]) : this.lost;
    try {
      return ok(await fn(lock.value, both));
    } finally {
      await this.unlock(lock.value);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true; // so that the end of the session is no loss
    // Later the session ends by itself.
    const options = { timeoutMs: askedMs, signal: this.lost };
    if (!this.lost.aborted)
      await this.#link.ics.call(dlm, 'close', this.node, { session: this.#id }, options);
    this.#watch.stop();
  }
}
