// The source's side of one move: performs the effects that the machine names, each with its record first,
// and answers each with one event. Judges nothing: what may be resumed or killed when is the machine's.

import { type Effect, type RunningMachine, runMachine } from '@ssi/actor';
import { type Errno, fail, type MemberId, type OriginEntry, ok, type Reply } from '@ssi/contracts';
import type { CallContext } from '@ssi/ports';
import { beginSpan, type OpenSpan } from '@ssi/telemetry';
import { toOriginEntry } from './exec-table.ts';
import { addressOf } from './floating-addresses.ts';
import {
  type MoveFailure,
  moveSourceMachine,
  type SourceEvent,
  type SourceStart,
} from './machine.ts';
import { type SourcePhase, type SourceRecord, sourceEntry, sourceTells } from './migrate.ts';
import { commitSteps } from './move-commit.ts';
import { Negotiation, type NegotiationRequest } from './move-negotiate.ts';
import type { MoveParts, RecordReply } from './move-parts.ts';
import { type SentTree, sendTree, streamBroke } from './move-send.ts';
import type { ActiveMove } from './moves.ts';
import type { SendingAhead } from './ports.ts';
import type { NewProgram } from './rexec.ts';

export interface Moved {
  readonly freezeMs: number;
  readonly bytes: number;
  readonly traceId: string;
}

/** What the steps of one move share. */
export interface SourceMove {
  readonly parts: MoveParts;
  readonly moveId: string;
  readonly context: CallContext;
  readonly span: OpenSpan;
  /** What takes the root's place at the target. */
  readonly program?: NewProgram;
  record: SourceRecord;
  /** The processes that no other move may take: the root from the start, the tree once it is known. */
  claimed: ReadonlySet<number>;
  negotiation?: Negotiation;
  sent?: SentTree;
  /** Memory that goes beside the images. */
  ahead?: SendingAhead;
  /** When a copy ran again, ms of CLOCK_BOOTTIME. */
  resumedAtMs?: number;
  peerGone(): boolean;
  /** The phase is that of the record: not written, not reached. What else is new is known in any case. */
  write(phase: SourcePhase, more?: Partial<SourceRecord>): Promise<RecordReply>;
}

export class SourceSide implements ActiveMove {
  readonly moveId: string;
  readonly side = 'source';
  readonly over: Promise<void>;
  private readonly move: SourceMove;
  private readonly steps: ReturnType<typeof commitSteps>;
  private readonly machine: RunningMachine<typeof moveSourceMachine>;
  private phase: SourcePhase | 'negotiating';
  private readonly request: NegotiationRequest | undefined;
  private finish: () => void = () => {};
  private readonly offView: () => void;

  constructor(
    parts: MoveParts,
    q: { record: SourceRecord; context: CallContext; request?: NegotiationRequest },
  ) {
    const { node } = parts;
    this.moveId = q.record.moveId;
    this.request = q.request;
    this.phase = q.request ? 'negotiating' : q.record.phase;
    this.over = new Promise((done) => {
      this.finish = done;
    });
    const program = q.request?.program;
    const span = beginSpan(node.deps.tracer, program ? 'rexec' : 'migrate', {
      parent: q.context.traceparent,
      attributes: {
        'ssi.move': q.record.moveId,
        'ssi.pid': q.record.root,
        'ssi.from': node.num,
        'ssi.to': q.record.peer.num,
        ...(q.record.postCopy ? { 'ssi.post_copy': true } : {}),
      },
    });
    const context: CallContext = {
      priority: q.context.priority,
      ...(span.traceparent ? { traceparent: span.traceparent } : {}),
    };
    this.move = {
      parts,
      moveId: q.record.moveId,
      context,
      span,
      ...(program ? { program } : {}),
      record: q.record,
      claimed: new Set([q.record.root, ...q.record.tasks.map((t) => t.pid)]),
      peerGone: () => node.isGone(this.move.record.peer),
      write: async (phase, more) => {
        const record = { ...this.move.record, ...more };
        const written = await parts.writeRecord({ ...record, phase });
        this.move.record = written.ok ? { ...record, phase } : record;
        if (written.ok) this.phase = phase;
        return written;
      },
    };
    this.steps = commitSteps(this.move);
    // Decided already: what still stands of the copy here counts for nothing.
    if (!q.request && sourceTells(q.record.phase) === undefined)
      parts.local.hide(q.record.tasks.map((t) => t.pid));
    const start: SourceStart = q.request ? 'negotiating' : sourceEntry[q.record.phase];
    this.machine = runMachine({
      machine: moveSourceMachine,
      input: { start },
      clock: node.deps.clock,
      log: node.deps.log.with({ move: this.moveId, side: 'source' }),
      perform: (effect) => void this.perform(effect),
    });
    this.offView = node.onView(() => this.look());
    this.look();
  }

  get pids(): ReadonlySet<number> {
    return this.move.claimed;
  }
  addresses(): string[] {
    const address = addressOf(this.move.record.tasks);
    return address === undefined ? [] : [address];
  }
  holdsSignals(): boolean {
    return this.phase !== 'negotiating';
  }
  decided(): Promise<void> {
    // In doubt about a dead peer: the answer is a matter of ms.
    return this.move.peerGone() ? this.over : Promise.resolve();
  }

  tells(pid: number): OriginEntry | undefined {
    if (this.phase === 'negotiating') return undefined;
    const entry = this.move.parts.local.table.get(pid);
    const phase = sourceTells(this.phase);
    return entry && phase ? toOriginEntry(entry, this.move.parts.node.num, phase) : undefined;
  }

  /** How it ended; resolves once the tree runs, here or there. */
  async outcome(): Promise<Reply<Moved, 'ECANCELED' | 'EOPNOTSUPP' | 'EHOSTDOWN' | Errno>> {
    await this.over;
    const state = this.machine.state();
    const failure = state.context.failure;
    if (state.value !== 'done')
      return fail((failure?.errno ?? 'ECANCELED') as Errno, failure?.detail ?? 'rolled back');
    const { sent, resumedAtMs, record } = this.move;
    const freezeMs = sent && resumedAtMs !== undefined ? resumedAtMs - sent.freezeAtMs : 0;
    const traceId = this.move.span.traceId ?? '0'.repeat(32);
    this.move.parts.node.deps.log.info('moved', { root: record.root, freezeMs });
    return ok({ freezeMs, bytes: sent?.bytes ?? 0, traceId });
  }

  private look(): void {
    if (this.move.peerGone()) this.send({ type: 'peerDown' });
  }
  private send(event: SourceEvent): void {
    if (!this.move.parts.node.stopped) this.machine.send(event);
  }

  private async perform(effect: Effect): Promise<void> {
    // The machine's first effects come while it is made: after this it is there to be answered.
    await Promise.resolve();
    const event = await this.step(effect.type);
    if (event) this.send(event);
  }

  private async step(effect: string): Promise<SourceEvent | undefined> {
    const { move, steps } = this;
    switch (effect) {
      case 'negotiate':
        return this.negotiate();
      case 'dump':
        return this.dump();
      case 'restore':
        return steps.restore();
      case 'confirm':
        return steps.confirm();
      case 'commit':
        return steps.commit();
      case 'tellCommit':
        return steps.tellCommit();
      case 'abort':
        return steps.abort();
      case 'resume':
        return steps.resume();
      case 'finish':
        await steps.cleanUp(this.machine.state().value === 'done');
        this.offView();
        this.machine.stop();
        move.span.end(await this.outcomeSoFar());
        this.finish();
        return undefined;
      default:
        return undefined;
    }
  }

  private async outcomeSoFar(): Promise<unknown> {
    const state = this.machine.state();
    if (state.value === 'done') return ok();
    const failure: MoveFailure | null = state.context.failure;
    return fail((failure?.errno ?? 'ECANCELED') as Errno, failure?.detail ?? 'rolled back');
  }

  private async negotiate(): Promise<SourceEvent> {
    if (!this.request) return { type: 'refused', failure: { errno: 'EIO', detail: 'no request' } };
    const negotiation = new Negotiation(this.move, this.request);
    this.move.negotiation = negotiation;
    const reply = await negotiation.run();
    if (reply.ok) {
      this.move.record = { ...this.move.record, ...reply.value };
      return { type: 'negotiated' };
    }
    return { type: 'refused', failure: { errno: reply.errno, detail: reply.detail } };
  }

  private async dump(): Promise<SourceEvent> {
    const reply = await sendTree(this.move);
    if (!reply.ok) {
      const { errno, detail } = reply;
      const told = detail.startsWith(streamBroke) ? await this.steps.targetsReason() : undefined;
      return { type: 'dumpFailed', failure: told ?? { errno, detail } };
    }
    this.move.sent = reply.value;
    return { type: 'dumped' };
  }
}

export const newSourceRecord = (q: {
  moveId: string;
  root: number;
  peer: MemberId;
  postCopy?: boolean;
}): SourceRecord => ({
  ...q,
  side: 'source',
  phase: 'dumping',
  tasks: [],
  copies: [],
  stoppedBefore: [],
});
