// Whether this instance of a key service is the active one. It is while the view it last applied names
// it and its node's lease runs; the lease is asked of the own membership, and counts from the sending of
// the question. [design: key services]
import {
  activeInstance,
  clms,
  fail,
  type MemberId,
  ok,
  type Reply,
  sameIncarnation,
  type View,
} from '@ssi/contracts';
import { type Clock, type Ics, sleep } from '@ssi/ports';

/** Lease questions while it is named; a lease lasts several times this long. */
const askMs = 100;

export interface KeyRole {
  /**
   * Its epoch while it may serve, undefined while it may not. Asked right before each answer: an
   * answer that took longer than the lease is not given.
   */
  epoch(): number | undefined;
  /** With every view that membership tells (`view`, and the reply of `attach`). */
  told(q: { view: View; self: MemberId }): void;
  /** Answers the operation of that name. From here on the epoch is over; `idle` ends what is in work. */
  standDown(q: { name: string; since: number }): Promise<Reply<Record<string, never>, 'EIO'>>;
  /** Where else to ask, for EREMCHG: the node that the view names; undefined: nobody now. */
  elsewhere(): number | undefined;
  close(): void;
}

export function createKeyRole(q: {
  readonly name: string;
  readonly ics: Ics;
  readonly clock: Clock;
  /** An epoch begins (rebuild what is served) or is over (undefined). */
  readonly onEpoch?: (epoch: number | undefined) => void;
  /** Resolves when nothing is in work any more; false: that could not be reached. Absent: at once. */
  readonly idle?: () => Promise<boolean>;
}): KeyRole {
  const { name, ics, clock } = q;
  let view: View | undefined;
  let self: MemberId | undefined;
  let stoodDown = 0;
  /** The epoch in which the applied view names this instance. */
  let named: number | undefined;
  let untilMs = Number.NEGATIVE_INFINITY;
  let shown: number | undefined;
  let asking = false;
  let closed = false;

  function nameNow(): number | undefined {
    const key = view && activeInstance(view, name);
    const me = view?.members.find((m) => m.num === self?.num);
    if (!key || !self || !me || key.num !== self.num || key.to !== undefined) return undefined;
    if (!sameIncarnation(me.incarnation, self.incarnation)) return undefined;
    return key.since > stoodDown ? key.since : undefined;
  }

  const epoch = (): number | undefined => (!closed && clock.nowMs() < untilMs ? named : undefined);

  function review(): void {
    const now = epoch();
    if (now === shown) return;
    shown = now;
    q.onEpoch?.(now);
  }

  async function ask(): Promise<void> {
    if (asking) return;
    asking = true;
    while (!closed && named !== undefined) {
      const sentMs = clock.nowMs();
      const reply = await ics.call(clms, 'confirm', ics.self.node, {}, { timeoutMs: 4 * askMs });
      // A lease in a newer view says nothing about this one: that view is on its way here.
      if (reply.ok && reply.value.transid <= (view?.transid ?? 0))
        untilMs = Math.max(untilMs, sentMs + reply.value.leaseMs);
      review();
      await sleep(clock, askMs);
    }
    asking = false;
    review();
  }

  return {
    epoch,
    told(next) {
      if (view && next.view.transid < view.transid) return;
      // Another life of the node has a lease of its own.
      if (self && !sameIncarnation(self.incarnation, next.self.incarnation))
        untilMs = Number.NEGATIVE_INFINITY;
      view = next.view;
      self = next.self;
      named = nameNow();
      review();
      void ask();
    },
    async standDown({ name: which, since }) {
      if (which !== name) return fail('EIO', `this is ${name}, not ${which}`);
      stoodDown = Math.max(stoodDown, since);
      named = nameNow();
      review();
      return !q.idle || (await q.idle()) ? ok({}) : fail('EIO', `${name} could not be ended`);
    },
    elsewhere: () => (view ? activeInstance(view, name)?.num : undefined),
    close() {
      closed = true;
      review();
    },
  };
}
