// Tells origins what changed here: batched for a few ms, one report at a time to each node, built from
// the present state when it is sent, and sent again until acknowledged. A process is told to the origin
// of every range whose numbers it uses: pid, threads, group and session; and to who would be origin next.
import {
  type OriginEntry,
  originOfRange,
  type ReplyOf,
  rangeOf,
  type View,
  vproc,
} from '@ssi/contracts';
import { untilAnswered } from './backoff.ts';
import type { LocalNode } from './local-node.ts';
import { numbersOf } from './move-set.ts';
import { standbyOfRange } from './pid.ts';

const batchMs = 10;
const patience = { firstMs: 50, maxMs: 1_000 };
/** Entries in one report: about 150 bytes each, far below a frame's 512 KiB. */
const batchMax = 1_000;

export interface ReportSource {
  /** What this node says of the pid now; undefined: nothing lives here under that number. */
  current(pid: number): OriginEntry | undefined;
  /** Moving, or another node's by now: silence about it does not mean that it ended. */
  elsewhere(pid: number): boolean;
  /** Delivers to this node's own origin tables. */
  applyHere(entries: readonly OriginEntry[], gone: readonly number[]): void;
}

export class Reporter {
  private readonly node: LocalNode;
  private readonly source: ReportSource;
  /**
   * What has still to be heard, by range: k by the origin of range k, -k by its standby. true: gone.
   */
  private readonly pending = new Map<number, Map<number, boolean>>();
  /** Ranges that were ever told of a pid: a process that left a group is told to the old group's too. */
  private readonly told = new Map<number, Set<number>>();
  private readonly busy = new Set<number>();
  private timer = false;

  constructor(node: LocalNode, source: ReportSource) {
    this.node = node;
    this.source = source;
    node.onView((_view, before) => {
      for (const [pid, ranges] of this.told)
        for (const key of [...ranges].flatMap((r) => [r, -r]))
          if (!before || this.destination(key) !== destinationIn(before, key))
            this.mark(key, pid, false);
      this.flush();
    });
  }

  tell(changed: readonly OriginEntry[], gone: readonly number[]): void {
    for (const e of changed) {
      const ranges = this.told.get(e.pid) ?? new Set<number>();
      for (const r of this.rangesOf(e)) ranges.add(r);
      this.told.set(e.pid, ranges);
      for (const range of ranges) this.markBoth(range, e.pid, false);
    }
    for (const pid of gone) {
      for (const range of this.told.get(pid) ?? this.rangesOf({ pid }))
        this.markBoth(range, pid, true);
      this.told.delete(pid);
    }
    this.flushHere();
    this.schedule();
  }

  /** The process is another node's now; what is pending of it must not be said any more. */
  drop(pids: readonly number[]): void {
    for (const pid of pids) {
      this.told.delete(pid);
      for (const marks of this.pending.values()) marks.delete(pid);
    }
  }

  /** What is pending goes at once, not after the batch's few ms. */
  nudge(): void {
    this.flush();
  }

  /**
   * After a start: what ended and was not told before this service died. Each peer says whom it believes to
   * be here, and hears who of them is not.
   */
  async correct(): Promise<void> {
    const { clock } = this.node.deps;
    await Promise.all(
      this.node.peers().map((peer) => {
        const wanted = (): boolean => !this.node.stopped && this.node.memberUp(peer) !== undefined;
        return untilAnswered(clock, patience, wanted, () => this.correctAt(peer));
      }),
    );
  }
  private async correctAt(peer: number): Promise<true | undefined> {
    const reply = await this.report(peer, { started: true });
    if (!reply) return undefined;
    const entries: OriginEntry[] = [];
    const gone: number[] = [];
    for (const pid of reply.here ?? []) {
      const now = this.source.current(pid);
      if (now?.phase === 'exited') entries.push(now);
      else if (!now && !this.source.elsewhere(pid)) gone.push(pid);
    }
    if (entries.length + gone.length === 0) return true;
    return (await this.report(peer, { entries, gone })) && true;
  }

  private rangesOf(e: Pick<OriginEntry, 'pid'> & Partial<OriginEntry>): number[] {
    const bits = this.node.view?.pidBits;
    if (!bits) return [];
    const task = { pgid: 0, sid: 0, ppid: 0, tids: [], ...e };
    return [...new Set(numbersOf([task]).map((n) => rangeOf(n, bits)))].filter((r) => r > 0);
  }

  private mark(range: number, pid: number, gone: boolean): void {
    const marks = this.pending.get(range) ?? new Map<number, boolean>();
    marks.set(pid, gone);
    this.pending.set(range, marks);
  }

  private markBoth(range: number, pid: number, gone: boolean): void {
    this.mark(range, pid, gone);
    this.mark(-range, pid, gone);
  }
  private destination(key: number): number | undefined {
    return this.node.view && destinationIn(this.node.view, key);
  }

  private schedule(): void {
    if (this.timer) return;
    this.timer = true;
    this.node.deps.clock.after(batchMs, () => {
      this.timer = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.node.stopped) return;
    this.flushHere();
    for (const range of this.pending.keys()) {
      const to = this.destination(range);
      if (to !== undefined && to !== this.node.num && !this.busy.has(to)) void this.sendTo(to);
    }
  }

  private flushHere(): void {
    for (const range of [...this.pending.keys()])
      if (this.destination(range) === this.node.num) {
        const batch = this.take([range], Number.POSITIVE_INFINITY);
        this.source.applyHere(batch.entries, batch.gone);
      }
  }

  private take(ranges: readonly number[], max: number) {
    const entries = new Map<number, OriginEntry>();
    const gone = new Set<number>();
    const taken: { range: number; pid: number; gone: boolean }[] = [];
    for (const range of ranges) {
      const marks = this.pending.get(range) ?? new Map<number, boolean>();
      for (const [pid, wasGone] of marks) {
        if (entries.size + gone.size >= max) break;
        marks.delete(pid);
        taken.push({ range, pid, gone: wasGone });
        const now = this.source.current(pid);
        if (now) entries.set(pid, now);
        else if (!this.source.elsewhere(pid)) gone.add(pid);
      }
      if (marks.size === 0) this.pending.delete(range);
    }
    return { entries: [...entries.values()], gone: [...gone], taken };
  }

  private async sendTo(to: number): Promise<void> {
    this.busy.add(to);
    const mine = (): number[] =>
      [...this.pending.keys()].filter((key) => this.destination(key) === to);
    const wanted = (): boolean => !this.node.stopped && mine().length > 0;
    while (wanted()) {
      const done = await untilAnswered(this.node.deps.clock, patience, wanted, async () => {
        const batch = this.take(mine(), batchMax);
        if (await this.report(to, batch)) return true;
        // What changed again meanwhile is marked already, and newer.
        for (const t of batch.taken)
          if (!this.pending.get(t.range)?.has(t.pid)) this.mark(t.range, t.pid, t.gone);
        return undefined;
      });
      if (!done) break;
    }
    this.busy.delete(to);
    if (this.pending.size > 0) this.schedule();
  }

  private async report(
    to: number,
    q: { entries?: OriginEntry[]; gone?: number[]; started?: true },
  ): Promise<ReplyOf<(typeof vproc)['ops']['report']> | undefined> {
    const self = this.node.self;
    if (!self) return undefined;
    const { entries = [], gone = [], started } = q;
    const request = { node: self.num, incarnation: self.incarnation, entries, gone };
    const asked = started ? { ...request, started } : request;
    const reply = await this.node.deps.ics.call(vproc, 'report', to, asked);
    return reply.ok ? reply.value : undefined;
  }
}

const destinationIn = (view: View, key: number): number | undefined =>
  key > 0 ? originOfRange(view, key) : standbyOfRange(view, -key);
