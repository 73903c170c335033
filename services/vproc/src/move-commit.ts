// The source's steps from doubt to the end: ask for the restore, decide, kill the own copy, tell the
// target until it answers; or have the target's copy destroyed and run on.
import { fail, type OriginEntry, ok, type Reply, vproc } from '@ssi/contracts';
import { type CallContext, sleep } from '@ssi/ports';
import { withSpan } from '@ssi/telemetry';
import { insist, untilAnswered, untilDone } from './backoff.ts';
import { moveAddress } from './floating-addresses.ts';
import type { MoveFailure, SourceEvent } from './machine.ts';
import { sourceMayResume } from './migrate.ts';
import { aheadBroke, sendTheRest } from './move-ahead.ts';
import { unwritten } from './move-parts.ts';
import { numbersOf } from './move-set.ts';
import type { SourceMove } from './move-source.ts';
import { hostDown } from './process-table.ts';

const patience = { firstMs: 10, maxMs: 500 };
/** Longest the tree stands still for a target that does not say whether it could restore. */
const restoreMs = 60_000;
const confirmMs = 10_000;
/** Asked again after this: the request is idempotent, and its server may have been replaced. */
const askAgainMs = 5_000;
/** The tree stands still meanwhile. */
const reasonMs = 500;
/** The origin has heard of the move, or hears by the reports; the caller waits no longer for it. */
const originMs = 2_000;

/** The target says that it has no copy; of execve(2), why the program did not start. */
const refusals: readonly string[] = 'ECANCELED ESTALE ENOENT EACCES ENOEXEC EPERM ENOSPC'.split(
  ' ',
);
const isRefusal = (errno: string): boolean => refusals.includes(errno);

const unsure = (errno: string, detail: string): SourceEvent => ({
  type: 'unsure',
  failure: { errno: 'ECANCELED', detail: `${errno} ${detail}` } satisfies MoveFailure,
});

export function commitSteps(move: SourceMove) {
  const { parts, moveId, context } = move;
  const { node } = parts;
  const { ics, clock, failpoint, ports, tracer } = node.deps;
  const peer = (): number => move.record.peer.num;
  const alive = (): boolean => !node.stopped && !move.peerGone();
  const before = (deadlineMs: number) => (): boolean => alive() && clock.nowMs() < deadlineMs;

  const address = () => moveAddress(node, move.record.tasks);

  async function restore(): Promise<SourceEvent> {
    const written = await move.write('doubt');
    // Not asked: the target has no copy.
    if (!written.ok) return { type: 'restoreRefused', failure: unwritten(written) };
    await failpoint('move.source.doubt');
    const answer = await withSpan(
      tracer,
      'restore',
      { parent: context.traceparent },
      (traceparent) => {
        const deadline = clock.nowMs() + restoreMs;
        return untilAnswered(clock, patience, before(deadline), () =>
          askRestore({ ...context, ...(traceparent ? { traceparent } : {}) }),
        );
      },
    );
    if (!answer) return unsure('ETIMEDOUT', 'the target did not say whether it could restore');
    if (answer.ok) {
      await failpoint('move.source.prepared');
      return { type: 'prepared' };
    }
    const errno = answer.errno === 'ESTALE' ? 'ECANCELED' : answer.errno;
    const failure = { errno, detail: `target: ${answer.detail}` };
    return { type: 'restoreRefused', failure };
  }

  /** The first time the request, later only the question whether its answer still holds. */
  async function askRestore(by: CallContext): Promise<Reply<unknown> | undefined> {
    const sent = move.sent;
    const request = {
      moveId,
      streams: sent?.states ?? [],
      tasks: [...move.record.tasks],
      bytes: sent?.bytes ?? 0,
      ...(sent?.shellJob ? { shellJob: true } : {}),
      ...(move.record.tcpEstablished ? { tcpEstablished: true } : {}),
      ...(sent?.tty ? { tty: sent.tty } : {}),
      ...(sent?.program ? { program: sent.program } : {}),
    };
    const reply = await ics.call(vproc, 'moveRestore', peer(), request, {
      context: by,
      timeoutMs: askAgainMs,
    });
    // Only a word of the target itself ends it: its service may just be starting again.
    return reply.ok || isRefusal(reply.errno) ? reply : undefined;
  }

  /** Both memberships, right before the decision: this one's of the target, and the target's by its word. */
  async function confirm(): Promise<SourceEvent> {
    const deadline = clock.nowMs() + confirmMs;
    const answer = await untilAnswered(clock, patience, before(deadline), async () => {
      const [own, vow] = await Promise.all([
        node.confirm(move.record.peer, context),
        askRestore(context),
      ]);
      if (own.ok || vow?.ok === false) return vow;
      return own.errno === 'EHOSTDOWN' ? own : undefined;
    });
    const broke = await aheadBroke(move);
    if (broke !== undefined) return unsure('EIO', broke);
    if (answer?.ok) return { type: 'confirmed' };
    return unsure(answer?.errno ?? 'ENETDOWN', answer?.detail ?? 'membership gave no word');
  }

  /** The decision is on record before the first signal; from there only forward. */
  async function commit(): Promise<SourceEvent | undefined> {
    return withSpan(tracer, 'commit', { parent: context.traceparent }, async () => {
      const written = await move.write('committing');
      if (!written.ok) return { type: 'undecided', failure: unwritten(written) } as const;
      await failpoint('move.source.committing');
      const pids = move.record.tasks.map((t) => t.pid);
      // What is killed now ended nowhere: the process goes on elsewhere.
      parts.local.hide(pids);
      parts.reporter.drop(pids);
      const { standIn, root, copies } = move.record;
      const [first] = copies.filter((c) => c.pid === root);
      const task = move.record.tasks.find((t) => t.pid === root);
      // Its children are killed after it: what is left of them is then reaped by the stub.
      if (standIn && first && task) await parts.stubs.stand(first, task);
      // Post-copy: stopped for good, and killed when its memory has gone to the target.
      if (!move.record.postCopy && !(await kill())) return undefined;
      if (!(await insist(node, () => address().drop()))) return undefined;
      await failpoint('move.source.killed');
      return { type: 'killed' } as const;
    });
  }

  /** The source's copies, until the last one's numbers are free. False: not before this service ends. */
  async function kill(): Promise<boolean> {
    const { standIn, root, copies, tasks } = move.record;
    const killing = standIn ? copies.filter((c) => c.pid !== root) : copies;
    if (!(await insist(node, () => ports.criu.destroy(killing)))) return false;
    await parts.holds.depart(moveId, numbersOf(tasks));
    parts.local.show(tasks.map((t) => t.pid).filter((pid) => !parts.stubs.has(pid)));
    return true;
  }

  async function tellCommit(): Promise<SourceEvent | undefined> {
    // Without this record a restart kills what is dead already, and comes here again.
    await move.write('committed');
    await failpoint('move.source.committed');
    return withSpan(tracer, 'resume', { parent: context.traceparent }, async (traceparent) => {
      const answer = await untilAnswered(clock, patience, alive, async () => {
        const reply = await ics.call(
          vproc,
          'moveCommit',
          peer(),
          { moveId },
          {
            context: { ...context, ...(traceparent ? { traceparent } : {}) },
          },
        );
        if (!reply.ok && reply.errno === 'ESRCH')
          node.deps.log.error('the target does not know a committed move', { move: moveId });
        return reply.ok ? reply : undefined;
      });
      if (!answer) return undefined;
      move.resumedAtMs = clock.nowMs();
      await failpoint('move.source.resumed');
      return { type: 'targetResumed' } as const;
    });
  }

  async function abort(): Promise<SourceEvent | undefined> {
    // Without this record a restart finds itself in doubt, and comes here again.
    await move.write('aborting');
    await failpoint('move.source.aborting');
    const answer = await untilAnswered(clock, patience, alive, () => askAbort());
    if (!answer) return move.peerGone() ? { type: 'peerDown' } : undefined;
    return answer.ok ? { type: 'targetDestroyed' } : { type: 'targetRuns' };
  }
  async function askAbort(): Promise<Reply<unknown, 'EALREADY'> | undefined> {
    const request = { moveId, root: move.record.root };
    const reply = await ics.call(vproc, 'moveAbort', peer(), request, { context });
    if (reply.ok) return ok();
    return reply.errno === 'EALREADY' ? fail('EALREADY', reply.detail) : undefined;
  }

  /** Why it has broken off the move, if it says so soon. */
  async function targetsReason(): Promise<MoveFailure | undefined> {
    const how = { context, timeoutMs: reasonMs };
    const reply = await ics.call(vproc, 'moveStatus', peer(), { moveId }, how);
    const failure = reply.ok ? reply.value.failure : undefined;
    return failure && { errno: failure.errno, detail: `target: ${failure.detail}` };
  }

  async function resume(): Promise<SourceEvent | undefined> {
    await failpoint('move.source.rollback');
    const { owner, stoppedBefore } = move.record;
    if (owner !== undefined) await ports.streams.resume(owner);
    const copies = await copiesNow();
    if (move.record.tcpEstablished) await ports.criu.cleanUp();
    const pids = copies.map((c) => c.pid);
    if (!(await insist(node, () => address().open(pids)))) return undefined;
    const resumed = await insist(node, () => ports.criu.resume(copies, stoppedBefore));
    return resumed ? { type: 'runsHere' } : undefined;
  }
  /** A restart during the dump: the tree may have forked since the record was written. */
  async function copiesNow() {
    if (move.record.phase !== 'dumping') return move.record.copies;
    await parts.local.refresh();
    const known = new Set(move.record.copies.map((c) => c.pid));
    const all = [...parts.local.table.values()];
    const more = all.filter((e) => known.has(e.ppid) && !known.has(e.pid));
    return [...move.record.copies, ...more.map(({ pid, startTicks }) => ({ pid, startTicks }))];
  }

  /** What the tree's entries are after the move, as the target will report them too. */
  function movedEntries(moved: boolean): OriginEntry[] {
    // A target that died with them: nobody else can tell any more.
    const end = (pid: number) =>
      moved ? { phase: 'live' as const } : { phase: 'exited' as const, exit: hostDown(pid) };
    return move.record.tasks.map((t) => ({
      pid: t.pid,
      ppid: t.ppid,
      pgid: t.pgid,
      sid: t.sid,
      tids: t.tids,
      kind: t.kind ?? 'native',
      node: peer(),
      hop: t.hop + 1,
      ...(t.born === undefined ? {} : { born: t.born }),
      ...end(t.pid),
    }));
  }

  async function updateOrigin(moved: boolean): Promise<void> {
    const entries = movedEntries(moved);
    const self = node.self;
    const origins = new Set(entries.map((e) => node.originOf(e.pid)));
    await withSpan(
      tracer,
      'origin.update',
      { parent: context.traceparent },
      async (traceparent) => {
        for (const origin of origins) {
          if (origin === undefined || !self) continue;
          const mine = entries.filter((e) => node.originOf(e.pid) === origin);
          if (origin === node.num) parts.applyHere(mine);
          else
            await ics.call(
              vproc,
              'report',
              origin,
              { node: self.num, incarnation: self.incarnation, entries: mine, gone: [] },
              {
                context: { ...context, ...(traceparent ? { traceparent } : {}) },
                timeoutMs: originMs,
              },
            );
        }
      },
    );
  }

  /** Nothing of the move stays but where the process went. */
  async function cleanUp(moved: boolean): Promise<void> {
    const { owner } = move.record;
    const pids = move.record.tasks.map((t) => t.pid);
    const gone = moved || !sourceMayResume(move.record.phase);
    if (gone) {
      parts.moves.departed(pids, peer());
      await updateOrigin(moved);
      if (move.record.postCopy) {
        await sendTheRest(move);
        await kill();
      }
      // A restart that found it committed hid the numbers: somebody else may have them from now on.
      parts.local.show(pids.filter((pid) => !parts.stubs.has(pid)));
      parts.holds.departed(moveId);
      if (owner !== undefined) {
        parts.streamsMoved(owner, peer());
        await parts.removeStreams(owner);
      }
    } else void releaseTarget();
    await closeStream(gone);
    parts.removeImages(moveId);
    if (move.sent || gone) await ports.criu.cleanUp();
    // Until then the process may not come back: a restart would take the record for a move under way.
    await untilDone(node, 'the record of a move', () => ports.records.remove(moveId));
    if (!gone) await parts.local.refresh();
  }
  async function closeStream(gently: boolean): Promise<void> {
    const stream = move.negotiation?.stream;
    if (!stream) return;
    if (gently) await Promise.race([stream.end().catch(() => {}), sleep(clock, 200)]);
    stream.destroy();
  }
  /** It may still keep room and numbers for us; asked a few times, then its own deadline does it. */
  async function releaseTarget(): Promise<void> {
    let tries = 0;
    const wanted = (): boolean => alive() && tries++ < 5;
    await untilAnswered(clock, patience, wanted, () => askAbort());
  }

  return { restore, confirm, commit, tellCommit, abort, targetsReason, resume, cleanUp };
}
