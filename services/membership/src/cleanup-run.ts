// Runs the nodedown steps from the master: each step on every UP node, acknowledged before the next.
// Commits what people and joiners go by: UCLEANUP before the user script, DOWN at the end, and a step
// that hangs with the nodes it waits for.
import { clms, type MemberId, ok, sameIncarnation, upMembers, type View } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { Committer } from './committer.ts';
import type { Master } from './master.ts';
import { acknowledged, begin, type Cleanup, isDone, overdue, stepName } from './nodedown.ts';
import type { MembershipDeps, NodeState } from './state.ts';
import { cleanup, inCleanup } from './view.ts';

export interface CleanupRun {
  /** The view changed: new dead begin the sequence anew for the union. */
  onView(view: View): void;
  stop(): void;
}

export function createCleanupRun(
  deps: MembershipDeps,
  state: NodeState,
  master: Master,
  committer: Committer,
): CleanupRun {
  const { clock, log, ics, config } = deps;
  let current: Cleanup | undefined;
  let stopped = false;
  const fenced = new Set<string>();

  const nodes = (view: View): number[] => upMembers(view).map((m) => m.num);
  const nowNodes = (): number[] => (state.view ? nodes(state.view) : []);
  const key = (d: MemberId): string =>
    `${d.num}:${d.incarnation.bootCount}:${d.incarnation.bootId}`;

  function start(dead: readonly MemberId[]): void {
    const begun = begin(current, dead, nowNodes(), clock.nowMs());
    current = begun;
    log.info('nodedown steps begin', { dead: begun.dead.map((d) => d.num), round: begun.round });
    void run(begun.round);
  }

  /** Makes sure that the dead are off, where an agent is configured; again until it says so. */
  async function fence(round: number): Promise<void> {
    const agent = deps.fence;
    if (!agent) return;
    for (const d of current?.dead ?? [])
      while (!fenced.has(key(d)) && !stopped && current?.round === round) {
        const done = await agent.fence(d);
        if (done.ok) fenced.add(key(d));
        else {
          log.error('fence agent failed', { num: d.num, errno: done.errno, detail: done.detail });
          await sleep(clock, 1_000);
        }
      }
  }

  async function run(round: number): Promise<void> {
    await fence(round);
    for (;;) {
      const c = current;
      if (stopped || !c || c.round !== round) return;
      if (isDone(c)) break;
      const step = stepName(c);
      if (step === 'script') await commitAgain(round, (v) => cleanup(v, c.dead, 'UCLEANUP'));
      // Nobody UP to acknowledge (the last node, a cold start): the step is done.
      if (c.waitingFor.length === 0) current = { ...c, step: c.step + 1, waitingFor: nowNodes() };
      else await runStep(round);
    }
    const { dead } = current ?? { dead: [] };
    const transid = await commitAgain(round, (v) => cleanup(v, dead, 'DOWN'));
    if (current?.round === round) current = undefined;
    if (transid !== undefined) deps.publishEvent('nodedown', { dead, transid });
  }

  /** Until it is written: a mandate that lapsed or a broker that is away come back. undefined: overtaken. */
  async function commitAgain(
    round: number,
    change: (view: View) => View,
  ): Promise<number | undefined> {
    while (!stopped && current?.round === round) {
      const done = await committer.commit((v) => ok(change(v)));
      if (done.ok) return done.value.transid;
      await sleep(clock, config.timing.beatMs);
    }
    return undefined;
  }

  async function runStep(round: number): Promise<void> {
    const c = current;
    const step = c && stepName(c);
    if (!c || !step) return;
    for (const num of c.waitingFor) void ask(num, round, step);
    let shown = false;
    for (;;) {
      await sleep(clock, config.timing.tickMs / 5);
      const now = current;
      if (stopped || !now || now.round !== round || now.step !== c.step) return;
      // Who left meanwhile has nothing to acknowledge: its own steps begin the sequence anew.
      for (const num of now.waitingFor.filter((n) => !nowNodes().includes(n)))
        ack(num, round, step);
      const waited = clock.nowMs() - now.startedMs;
      if (!shown && waited >= config.timing.stepShownMs) {
        shown = true;
        const to = step === 'script' ? 'UCLEANUP' : 'KCLEANUP';
        const { waitingFor } = now;
        deps.publishEvent('step', { step, waitingFor, dead: now.dead });
        void committer.commit((v) => ({
          ok: true,
          value: cleanup(v, now.dead, to, { name: step, waitingFor: [...waitingFor] }),
        }));
      }
      const late = overdue(now, clock.nowMs(), config.timing.stepMs);
      if (late.length > 0) {
        log.error('nodedown step not acknowledged', { step, nodes: late });
        deps.publishEvent('lost', { step, nodes: late });
        const ids = upMembers(state.view ?? ({ members: [] } as never)).filter((m) =>
          late.includes(m.num),
        );
        await master.exclude(
          ids.map(({ num, incarnation }) => ({ num, incarnation })),
          `did not acknowledge step ${step}`,
        );
        await sleep(clock, config.timing.probeMs);
      }
    }
  }

  function ack(num: number, round: number, step: NonNullable<ReturnType<typeof stepName>>): void {
    if (current) current = acknowledged(current, { round, step, num }, nowNodes(), clock.nowMs());
  }

  /** Asks one node until it acknowledges; the deadline is the step's. */
  async function ask(
    num: number,
    round: number,
    step: NonNullable<ReturnType<typeof stepName>>,
  ): Promise<void> {
    for (;;) {
      const c = current;
      if (stopped || !c || c.round !== round || stepName(c) !== step) return;
      if (!c.waitingFor.includes(num)) return;
      const request = { transid: state.view?.transid ?? 0, step, dead: [...c.dead] };
      const left = config.timing.stepMs - (clock.nowMs() - c.startedMs);
      if (left <= 0) return;
      const reply = await ics.call(clms, 'step', num, request, { timeoutMs: left });
      if (reply.ok) return ack(num, round, step);
      log.debug('nodedown step refused', { num, step, errno: reply.errno });
      await sleep(clock, 200);
    }
  }

  return {
    onView(view) {
      if (stopped) return;
      const known = current?.dead ?? [];
      const fresh = inCleanup(view).filter(
        (d) => !known.some((k) => k.num === d.num && sameIncarnation(k.incarnation, d.incarnation)),
      );
      if (fresh.length > 0) start(fresh);
    },
    stop() {
      stopped = true;
      current = undefined;
    },
  };
}
