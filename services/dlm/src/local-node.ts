// The node a lock manager serves: the view it goes by, its lease, the lives of the other lock managers it
// has heard of. What every part of the service asks.
import {
  clms,
  directoryOf,
  findMember,
  type MemberId,
  type Reply,
  sameIncarnation,
  talksIn,
  upMembers,
  type View,
} from '@ssi/contracts';
import type { Clock, Ics, Log } from '@ssi/ports';
import { sleep } from '@ssi/ports';
import { Lives } from './lives.ts';

/** The lease is asked for this often; it lasts several times as long. */
const leaseAskMs = 100;

export class LocalNode {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly log: Log;
  readonly num: number;
  view: View | undefined;
  self: MemberId | undefined;
  stopped = false;
  /** Of this lock manager; undefined: it still starts, and is not there for anybody. */
  life: number | undefined;
  readonly lives: Lives;
  /** Grows with all that makes a directory's word of before worthless. */
  generation = 0;
  readonly #goneListeners: ((node: number) => void)[] = [];
  readonly #listeners = new Set<(view: View, before: View | undefined) => void>();
  #leaseUntilMs = Number.NEGATIVE_INFINITY;
  #leaseWaiters: (() => void)[] = [];

  constructor(q: { ics: Ics; clock: Clock; log: Log }) {
    this.ics = q.ics;
    this.clock = q.clock;
    this.log = q.log;
    this.num = q.ics.self.node;
    this.lives = new Lives((node) => {
      this.generation++;
      for (const listener of this.#goneListeners) listener(node);
    });
  }

  /** Lives of that node's lock manager are over. */
  onGone(fn: (node: number) => void): void {
    this.#goneListeners.push(fn);
  }

  applyView(view: View, self: MemberId): void {
    this.self = self;
    this.ics.setView(view, self);
    const before = this.view;
    if (before && view.transid <= before.transid) return;
    this.view = view;
    this.generation++;
    for (const listener of [...this.#listeners]) listener(view, before);
  }

  onView(fn: (view: View, before: View | undefined) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  /** False: the view did not get there in time. */
  atView(transid: number, timeoutMs: number): Promise<boolean> {
    if ((this.view?.transid ?? -1) >= transid) return Promise.resolve(true);
    return new Promise((done) => {
      const end = (there: boolean): void => {
        timer.cancel();
        off();
        done(there);
      };
      const timer = this.clock.after(timeoutMs, () => end(false));
      const off = this.onView((view) => view.transid >= transid && end(true));
    });
  }

  get transid(): number {
    return this.view?.transid ?? 0;
  }
  up(): number[] {
    return this.view ? upMembers(this.view).map((m) => m.num) : [];
  }
  /** Nodes that may have locks: those that are UP, and those that leave in good order. */
  holders(): number[] {
    return (this.view?.members ?? [])
      .filter((m) => m.state !== 'COMINGUP' && talksIn(m.state))
      .map((m) => m.num);
  }
  /** This life of this node is UP. */
  get isUp(): boolean {
    const me = this.view && findMember(this.view, this.num);
    return (
      me?.state === 'UP' &&
      this.self !== undefined &&
      sameIncarnation(me.incarnation, this.self.incarnation)
    );
  }
  directoryOf(key: string): number | undefined {
    return this.view && directoryOf(this.view, key);
  }

  get leased(): boolean {
    return this.clock.nowMs() < this.#leaseUntilMs;
  }
  /** Nothing is granted to anybody while the right to run is in doubt. */
  whenLeased(): Promise<void> {
    if (this.leased) return Promise.resolve();
    return new Promise((done) => this.#leaseWaiters.push(done));
  }

  /** Asks membership for as long as this runs; the lease counts from the sending of the question. */
  async followLease(): Promise<void> {
    while (!this.stopped) {
      const sentMs = this.clock.nowMs();
      const q = { timeoutMs: 4 * leaseAskMs };
      const reply = await this.ics.call(clms, 'confirm', this.num, {}, q);
      // In a view that is not known here this may be another life of the node, and the lease that one's.
      if (reply.ok && reply.value.transid <= this.transid)
        this.#leaseUntilMs = Math.max(this.#leaseUntilMs, sentMs + reply.value.leaseMs);
      if (this.leased) for (const done of this.#leaseWaiters.splice(0)) done();
      await sleep(this.clock, leaseAskMs);
    }
  }
}

const retryMs = 20;

/** Until the directory of the day has answered. Never, where the service stops before. */
export async function untilDirectory<T>(
  node: LocalNode,
  key: string,
  ask: (to: number) => Promise<Reply<T>>,
): Promise<T> {
  for (;;) {
    const to = node.directoryOf(key);
    const reply = to === undefined ? undefined : await ask(to);
    if (reply?.ok && node.directoryOf(key) === to) return reply.value;
    if (node.stopped) return new Promise(() => {});
    await sleep(node.clock, retryMs);
  }
}
