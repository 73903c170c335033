// This node as origin: it answers where a process of its ranges executes and how it ended, and rebuilds
// that table by asking everyone when a range becomes its own. [OpenSSI: surrogate origin]
import {
  type ExitStatus,
  fail,
  type MemberId,
  type OriginEntry,
  ok,
  originOfRange,
  type Reply,
  rangeOf,
  vproc,
} from '@ssi/contracts';
import type { CallContext, ServedCall } from '@ssi/ports';
import { untilAnswered } from './backoff.ts';
import type { LocalNode } from './local-node.ts';
import { numbersOf } from './move-set.ts';
import { rangesOf } from './pid.ts';
import {
  applyEntries,
  applyGone,
  applyNodeDown,
  hostDown,
  type OriginMap,
  reapedMax,
  remember,
} from './process-table.ts';

const patience = { firstMs: 20, maxMs: 500 };
/** Longest wait for a range that is being rebuilt, and for a view that the caller has already. */
const readyMs = 5_000;

export interface OriginHooks {
  /** What this node itself says of a range, once its own moves with the dead are decided. */
  census(range: number, context: CallContext): Promise<OriginEntry[]>;
  /** The tables changed: placeholders may have to follow. */
  changed(): void;
  /** Its status was taken. */
  reaped(pid: number): void;
  /** A fork may be too young for the table: look again. */
  refresh(): Promise<void>;
}

export class Origin {
  readonly table: OriginMap = new Map();
  private readonly node: LocalNode;
  private readonly hooks: OriginHooks;
  private readonly reaped = new Set<number>();
  private readonly waiters = new Map<number, Set<() => void>>();
  /** Ranges whose table is complete, with the view's transid from which it is. */
  private readonly complete = new Set<number>();
  private readonly rebuilding = new Map<number, Promise<void>>();

  constructor(node: LocalNode, hooks: OriginHooks) {
    this.node = node;
    this.hooks = hooks;
    node.onView((view, before) => {
      for (const range of [...this.complete])
        if (originOfRange(view, range) !== node.num && range !== node.num)
          this.complete.delete(range);
      // A range that just became ours is asked for at once; the nodedown step waits for the same.
      if (before) for (const range of rangesOf(view, node.num)) void this.rebuild(range);
      // Back in office: what the surrogate heard while this node was coming up.
      if (before && originOfRange(view, node.num) === node.num)
        if (originOfRange(before, node.num) !== node.num)
          void this.askAll(node.num, { priority: 1 });
    });
  }

  apply(entries: readonly OriginEntry[], gone: readonly number[], node: number): void {
    const taken = applyEntries(this.table, entries);
    for (const e of taken) {
      this.reaped.delete(e.pid);
      if (e.phase === 'exited') this.wake(e.pid);
    }
    const vanished = applyGone(this.table, gone, node);
    for (const pid of vanished) this.wake(pid);
    if (taken.length + vanished.length > 0) this.hooks.changed();
  }

  private wake(pid: number): void {
    for (const waiter of [...(this.waiters.get(pid) ?? [])]) waiter();
  }

  /** EREMCHG unless this node is origin of the pid; waits for the view and the table it needs. */
  async ready(pid: number, call: ServedCall): Promise<Reply<undefined, 'EREMCHG' | 'EAGAIN'>> {
    const view = await this.node.atView(call.transid, readyMs);
    if (!view) return fail('EAGAIN', 'this node has not heard of your view yet');
    const range = rangeOf(pid, view.pidBits);
    const origin = originOfRange(view, range);
    if (origin === undefined) return ok();
    if (origin !== this.node.num)
      return fail('EREMCHG', `node ${origin} is origin of ${pid}`, origin);
    if (!this.complete.has(range)) await this.within(this.rebuild(range), readyMs);
    return this.complete.has(range) ? ok() : fail('EAGAIN', 'the process table is being rebuilt');
  }

  private within(work: Promise<void>, ms: number): Promise<void> {
    return new Promise((done) => {
      const timer = this.node.deps.clock.after(ms, done);
      void work.then(() => {
        timer.cancel();
        done();
      });
    });
  }

  async entryOf(
    pid: number,
    call: ServedCall,
  ): Promise<Reply<OriginEntry, 'EREMCHG' | 'EAGAIN' | 'ESRCH'>> {
    const ready = await this.ready(pid, call);
    if (!ready.ok) return ready;
    if (!this.table.has(pid)) await this.hooks.refresh();
    const entry = this.table.get(pid);
    return entry ? ok(entry) : fail('ESRCH', `no process ${pid}`);
  }

  async where(request: { pid: number }, call: ServedCall) {
    const entry = await this.entryOf(request.pid, call);
    return entry.ok ? ok({ entry: entry.value }) : entry;
  }

  async report(
    request: {
      node: number;
      incarnation: MemberId['incarnation'];
      entries: OriginEntry[];
      gone: number[];
      started?: boolean | undefined;
    },
    call: ServedCall,
  ): Promise<Reply<{ here?: number[] }, 'EREMCHG' | 'ESTALE' | 'EAGAIN'>> {
    const view = await this.node.atView(call.transid, readyMs);
    if (!view) return fail('EAGAIN', 'this node has not heard of your view yet');
    if (this.node.isGone({ num: request.node, incarnation: request.incarnation }))
      return fail('ESTALE', 'that incarnation is DOWN');
    this.apply(request.entries, request.gone, request.node);
    if (!request.started) return ok({});
    const there = [...this.table.values()].filter((e) => e.node === request.node);
    return ok({ here: there.filter((e) => e.phase !== 'exited').map((e) => e.pid) });
  }

  async wait(
    request: { pid: number; reap: boolean; noHang?: boolean | undefined },
    call: ServedCall,
  ): Promise<Reply<ExitStatus, 'ESRCH' | 'ECHILD' | 'EREMCHG' | 'EAGAIN'>> {
    const { pid } = request;
    for (;;) {
      const entry = await this.entryOf(pid, call);
      if (!entry.ok) {
        if (entry.errno === 'ESRCH' && this.reaped.has(pid))
          return fail('ECHILD', `${pid} has been waited for`);
        return entry;
      }
      if (entry.value.phase === 'exited') {
        if (request.reap) this.reap(pid);
        return ok(entry.value.exit ?? hostDown(pid));
      }
      if (request.noHang) return fail('EAGAIN', `${pid} still runs`);
      await this.news(pid, call.signal);
      if (call.signal.aborted || this.node.stopped) return fail('EAGAIN', 'given up');
    }
  }

  private reap(pid: number): void {
    this.table.delete(pid);
    this.hooks.reaped(pid);
    remember(this.reaped, pid, reapedMax);
  }

  /** Resolves when something happened to the pid, the view changed, or the caller gave up. */
  private news(pid: number, signal: AbortSignal): Promise<void> {
    return new Promise((done) => {
      const waiters = this.waiters.get(pid) ?? new Set();
      this.waiters.set(pid, waiters);
      const end = (): void => {
        waiters.delete(end);
        if (waiters.size === 0) this.waiters.delete(pid);
        off();
        signal.removeEventListener('abort', end);
        done();
      };
      const off = this.node.onView(end);
      waiters.add(end);
      if (signal.aborted) end();
      else signal.addEventListener('abort', end);
    });
  }

  /** Asks every UP node, this one included, what lives of a range. Resolves when all have told. */
  rebuild(range: number): Promise<void> {
    if (this.complete.has(range)) return Promise.resolve();
    const running = this.rebuilding.get(range);
    if (running) return running;
    const context: CallContext = { priority: 1 };
    const work = this.askAll(range, context).then((all) => {
      this.rebuilding.delete(range);
      if (all) this.complete.add(range);
    });
    this.rebuilding.set(range, work);
    return work;
  }

  /** True: all UP nodes of the view have told. False: this node stopped, or is origin no more. */
  async askAll(range: number, context: CallContext): Promise<boolean> {
    const mine = (): boolean =>
      !this.node.stopped &&
      (range === this.node.num || this.node.originOfRange(range) === this.node.num);
    const asked = new Set<number>([this.node.num]);
    this.apply(await this.hooks.census(range, context), [], this.node.num);
    for (;;) {
      const left = this.node.peers().filter((n) => !asked.has(n));
      if (!mine()) return false;
      if (left.length === 0) return true;
      await Promise.all(
        left.map(async (num) => {
          await this.askOne(range, num, context, mine);
          asked.add(num);
        }),
      );
    }
  }

  private async askOne(
    range: number,
    num: number,
    context: CallContext,
    mine: () => boolean,
  ): Promise<void> {
    const wanted = (): boolean => mine() && this.node.memberUp(num) !== undefined;
    await untilAnswered(this.node.deps.clock, patience, wanted, async () => {
      const transid = this.node.view?.transid ?? 0;
      const request = { range, transid };
      const reply = await this.node.deps.ics.call(vproc, 'census', num, request, { context });
      if (!reply.ok) return undefined;
      this.apply(reply.value.entries, [], num);
      return true;
    });
  }

  /**
   * This node's step of a nodedown: what lived on the dead nodes and nobody took over has ended with
   * them. Every survivor is asked first, since a move in doubt may have saved a process.
   */
  async nodedown(dead: readonly MemberId[], context: CallContext): Promise<void> {
    const view = this.node.view;
    if (!view) return;
    const nums = new Set(dead.filter((d) => this.node.isGone(d)).map((d) => d.num));
    for (const range of rangesOf(view, this.node.num)) await this.rebuild(range);
    const touched = new Set(
      [...this.table.values()]
        .filter((e) => nums.has(e.node) && e.phase !== 'exited')
        .map((e) => rangeOf(e.pid, view.pidBits)),
    );
    for (const range of touched)
      if (this.node.originOfRange(range) === this.node.num) await this.askAll(range, context);
    for (const ended of applyNodeDown(this.table, nums)) this.wake(ended.pid);
    this.hooks.changed();
  }

  /** Entries of a range among `own`: those that use one of its numbers. */
  static ofRange(own: readonly OriginEntry[], range: number, pidBits: 14 | 16): OriginEntry[] {
    return own.filter((e) => numbersOf([e]).some((n) => rangeOf(n, pidBits) === range));
  }
}
