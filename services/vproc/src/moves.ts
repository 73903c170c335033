// The moves this node takes part in, and which processes they concern: what is moving waits here for
// signals, terminal sizes and a second move.
import { type Failure, fail, type OriginEntry } from '@ssi/contracts';
import { remember } from './process-table.ts';

/** Where processes went, remembered to redirect callers; the oldest goes first. */
const wentMax = 10_000;

export interface ActiveMove {
  readonly moveId: string;
  readonly side: 'source' | 'target';
  readonly pids: ReadonlySet<number>;
  /** Resolves when the move is over on this side. */
  readonly over: Promise<void>;
  /** Floating addresses that it is about. */
  addresses(): readonly string[];
  /** True from the freeze: signals wait. */
  holdsSignals(): boolean;
  /** What this side says of a process of the tree now; undefined: nothing. */
  tells(pid: number): OriginEntry | undefined;
  /** What the view decides about a dead peer is done (or there is nothing to decide). */
  decided(): Promise<void>;
}

export class Moves {
  readonly active = new Map<string, ActiveMove>();
  /** A move is over on this side: what it said of its processes may be different now. */
  onOver: (pids: readonly number[]) => void = () => {};
  private readonly went = new Map<number, number>();
  private readonly order = new Set<number>();

  add(move: ActiveMove): void {
    this.active.set(move.moveId, move);
    void move.over.then(() => {
      if (this.active.get(move.moveId) === move) this.active.delete(move.moveId);
      this.onOver([...move.pids]);
    });
  }

  of(pid: number): ActiveMove | undefined {
    for (const move of this.active.values()) if (move.pids.has(pid)) return move;
    return undefined;
  }

  /** Waits while the process stands between two nodes. */
  async settled(pid: number): Promise<void> {
    for (let move = this.of(pid); move?.holdsSignals(); move = this.of(pid)) await move.over;
  }

  departed(pids: readonly number[], to: number): void {
    for (const pid of pids) {
      this.went.set(pid, to);
      remember(this.order, pid, wentMax);
    }
    if (this.went.size > wentMax)
      for (const pid of this.went.keys()) if (!this.order.has(pid)) this.went.delete(pid);
  }
  arrived(pids: readonly number[]): void {
    for (const pid of pids) this.went.delete(pid);
  }
  /** The node that a process of ours moved to, if we know. */
  whereWent(pid: number): number | undefined {
    return this.went.get(pid);
  }

  /** Why node `num` does not have it: it went on from here, or there is no such process. */
  notHere(pid: number, num: number): Failure<'ESRCH' | 'EREMCHG'> {
    const to = this.went.get(pid);
    return to === undefined
      ? fail('ESRCH', `no process ${pid} on node ${num}`)
      : fail('EREMCHG', `${pid} moved to node ${to}`, to);
  }

  /** All of it that the table must show besides what a scan sees. */
  told(): OriginEntry[] {
    const entries: OriginEntry[] = [];
    for (const move of this.active.values())
      for (const pid of move.pids) {
        const entry = move.tells(pid);
        if (entry) entries.push(entry);
      }
    return entries;
  }
}
