// The target's side of one move: performs the effects that the machine names, each with its record first,
// and answers the source from the phase it has reached. Judges nothing: that is the machine's part.
import { type Effect, type RunningMachine, runMachine } from '@ssi/actor';
import {
  fail,
  type MoveTask,
  type OriginEntry,
  ok,
  type Reply,
  sameIncarnation,
} from '@ssi/contracts';
import type { CallContext } from '@ssi/ports';
import { withSpan } from '@ssi/telemetry';
import { insist } from './backoff.ts';
import { moveAddress } from './floating-addresses.ts';
import {
  type MoveFailure,
  moveTargetMachine,
  type TargetEvent,
  type TargetStart,
} from './machine.ts';
import { type TargetPhase, type TargetRecord, targetEntry, targetTells } from './migrate.ts';
import { type MoveParts, type RecordReply, unwritten } from './move-parts.ts';
import { Receiver } from './move-receive.ts';
import { numbersOf } from './move-set.ts';
import type { ActiveMove } from './moves.ts';
import type { RestoreResult } from './ports.ts';
import { startInstead } from './rexec.ts';

/** A reservation without a stream: a source that lives connects at once. */
const connectMs = 10_000;

/** No room, and those of execve(2), where a program is started instead of a restore. */
const toldErrnos = ['ENOSPC', 'ENOENT', 'EACCES', 'ENOEXEC', 'EPERM'] as const;
type ToldErrno = (typeof toldErrnos)[number];
type RestoreErrno = 'ECANCELED' | 'EAGAIN' | ToldErrno;

export class TargetSide implements ActiveMove {
  readonly moveId: string;
  readonly side = 'target';
  readonly over: Promise<void>;
  readonly receiver: Receiver;
  record: TargetRecord;
  private readonly parts: MoveParts;
  private readonly machine: RunningMachine<typeof moveTargetMachine>;
  private phase: TargetPhase | 'reserved';
  private context: CallContext = { priority: 2 };
  private restoreMs = 0;
  /** What only vproc knows of the tree is on record here. */
  private identified = false;
  private finish: () => void = () => {};
  private readonly waiting = new Set<() => void>();
  private readonly offView: () => void;

  /** The life of the source's service that asked for the reservation; undefined: found on record. */
  readonly askedBy: string | undefined;

  constructor(parts: MoveParts, record: TargetRecord, askedBy?: string) {
    const { node } = parts;
    const fresh = askedBy !== undefined;
    this.askedBy = askedBy;
    this.parts = parts;
    this.record = record;
    this.moveId = record.moveId;
    this.phase = fresh ? 'reserved' : record.phase;
    this.receiver = new Receiver(node.deps, record.moveId);
    this.over = new Promise((done) => {
      this.finish = done;
    });
    const start: TargetStart = fresh ? 'reserved' : targetEntry[record.phase];
    if (!fresh && targetTells(record.phase) !== 'live' && record.phase !== 'aborted')
      parts.local.hide(this.pidList());
    this.machine = runMachine({
      machine: moveTargetMachine,
      input: { start },
      clock: node.deps.clock,
      log: node.deps.log.with({ move: this.moveId, side: 'target' }),
      perform: (effect) => void this.perform(effect),
    });
    this.offView = node.onView(() => this.look());
    if (!fresh) {
      this.look();
      return;
    }
    const forget = (errno: string, detail: string): void => {
      if (this.phase === 'reserved') this.send({ type: 'abort', failure: { errno, detail } });
    };
    const unheard = (): void => forget('ECANCELED', 'the source did not connect');
    node.deps.clock.after(connectMs, () => this.receiver.connected || unheard());
    // criu moves native trees; an actor is moved by its host.
    if (record.tasks[0]?.kind !== 'actor') void node.deps.ports.criu.prepare(this.moveId);
    // Without all of the images nothing can come of it.
    void this.receiver.done.then((r) => r.ok || forget(r.errno, r.detail));
  }

  get pids(): ReadonlySet<number> {
    return new Set(this.pidList());
  }
  private pidList(): number[] {
    return this.record.tasks.map((t) => t.pid);
  }
  numbers(): number[] {
    return numbersOf(this.record.tasks);
  }
  holdsSignals(): boolean {
    return this.phase !== 'reserved' && this.phase !== 'resumed' && this.phase !== 'aborted';
  }
  state(): TargetPhase | 'reserved' {
    return this.phase;
  }
  /** Why there is no copy; undefined: there may be one, or it was not wanted. */
  failure(): MoveFailure | undefined {
    return this.machine.state().context.failure ?? undefined;
  }
  async decided(): Promise<void> {
    while (this.parts.node.isGone(this.record.peer) && this.holdsSignals()) await this.news();
  }

  tells(pid: number): OriginEntry | undefined {
    const phase = this.phase === 'reserved' ? undefined : targetTells(this.phase);
    const t = this.record.tasks.find((task) => task.pid === pid);
    // Once it runs the scan tells it; until then it counts no hop: the source may still take it back.
    if (!t || phase !== 'doubt') return undefined;
    const { ppid, pgid, sid, tids, hop, born } = t;
    const kind = t.kind ?? ('native' as const);
    const node = this.parts.node.num;
    const base = { pid, ppid, pgid, sid, tids, kind, node, hop, phase };
    return born === undefined ? base : { ...base, born };
  }

  /** The source's request: resolves when there is a whole copy, or none. */
  async restore(
    q: Pick<TargetRecord, 'tasks' | 'streams' | 'shellJob' | 'tcpEstablished' | 'tty' | 'program'>,
    context: CallContext,
    signal: AbortSignal,
  ): Promise<Reply<{ restoreMs: number }, RestoreErrno>> {
    if (this.phase === 'reserved') {
      this.context = context;
      this.record = { ...this.record, ...q };
      this.send({ type: 'restore' });
    }
    while (!signal.aborted && !this.parts.node.stopped) {
      if (['prepared', 'resuming', 'resumed'].includes(this.phase))
        return ok({ restoreMs: this.restoreMs });
      if (this.phase === 'aborted') return this.refusal();
      await this.news(signal);
    }
    return fail('EAGAIN', 'given up');
  }

  private refusal(): Reply<never, RestoreErrno> {
    const { failure } = this.machine.state().context;
    const errno = toldErrnos.find((e) => e === failure?.errno) ?? 'ECANCELED';
    return fail(errno, failure?.detail ?? 'aborted');
  }

  async commit(signal: AbortSignal): Promise<Reply<{ resumed: boolean }, 'ESTALE' | 'EAGAIN'>> {
    if (this.phase === 'aborted' || this.phase === 'destroying')
      return fail('ESTALE', 'that copy was destroyed');
    if (this.phase === 'prepared') this.send({ type: 'commit' });
    while (this.phase !== 'resumed') {
      if (signal.aborted || this.parts.node.stopped) return fail('EAGAIN', `still ${this.phase}`);
      await this.news(signal);
    }
    return ok({ resumed: true });
  }

  async abort(signal: AbortSignal): Promise<Reply<Record<string, never>, 'EALREADY' | 'EAGAIN'>> {
    const runs = (): boolean => this.phase === 'resuming' || this.phase === 'resumed';
    if (!runs()) this.send({ type: 'abort' });
    while (this.state() !== 'aborted') {
      if (runs()) return fail('EALREADY', 'it runs here');
      if (signal.aborted || this.parts.node.stopped) return fail('EAGAIN', `still ${this.phase}`);
      await this.news(signal);
    }
    return ok({});
  }

  private news(signal?: AbortSignal): Promise<void> {
    return new Promise((done) => {
      const end = (): void => {
        this.waiting.delete(end);
        signal?.removeEventListener('abort', end);
        done();
      };
      this.waiting.add(end);
      signal?.addEventListener('abort', end);
    });
  }
  private look(): void {
    const now = this.parts.node.self?.incarnation;
    const { life } = this.record;
    // This node was excluded since: its guard killed the copy, the source decided by the view.
    if (life && now && !sameIncarnation(life, now) && this.holdsSignals())
      this.send({ type: 'abort' });
    else if (this.parts.node.isGone(this.record.peer)) this.send({ type: 'peerDown' });
  }
  private send(event: TargetEvent): void {
    if (!this.parts.node.stopped) this.machine.send(event);
  }
  /** Not written: the phase is what it was. */
  private async enter(phase: TargetPhase, more?: Partial<TargetRecord>): Promise<RecordReply> {
    const written = await this.write(phase, more);
    if (written.ok) this.reach(phase);
    return written;
  }
  private async write(phase: TargetPhase, more?: Partial<TargetRecord>): Promise<RecordReply> {
    const record = { ...this.record, ...more };
    const written = await this.parts.writeRecord({ ...record, phase });
    this.record = written.ok ? { ...record, phase } : record;
    return written;
  }
  private reach(phase: TargetPhase): void {
    this.phase = phase;
    for (const waiter of [...this.waiting]) waiter();
  }

  private async perform(effect: Effect): Promise<void> {
    await Promise.resolve();
    const event = await this.step(effect.type);
    if (event) this.send(event);
  }

  private async step(effect: string): Promise<TargetEvent | undefined> {
    const { failpoint } = this.parts.node.deps;
    switch (effect) {
      case 'restore':
        return this.make(false);
      case 'remake':
        return this.make(true);
      case 'hold':
        return this.vow();
      case 'run':
        return this.run();
      case 'ran':
        await failpoint('move.target.resumed');
        // Here, so that a restart in between does it too.
        this.parts.removeImages(this.moveId);
        this.close();
        return undefined;
      case 'destroy':
        return this.destroy();
      case 'forget':
        this.close();
        return undefined;
      default:
        return undefined;
    }
  }

  private async make(again: boolean): Promise<TargetEvent> {
    const { node, local, holds } = this.parts;
    const { ports, failpoint } = node.deps;
    if (!again) {
      const received = await this.receiver.rest();
      if (!received.ok) return this.failed(received.detail, received.errno);
      await failpoint('move.target.received');
    }
    const written = await this.enter('restoring', { ...this.streamsOwner(), tried: true });
    if (!written.ok) return this.failed(unwritten(written).detail, unwritten(written).errno);
    await failpoint('move.target.restoring');
    local.hide(this.pidList());
    if (again) await this.destroyCopies();
    await holds.lend(this.moveId, this.numbers());
    const held = await this.address().hold();
    if (!held.ok) return this.failed(`address: ${held.detail}`);
    const made = await this.restoreTree();
    if (!made.ok) return this.failed(`restore: ${made.detail}`, made.errno);
    this.restoreMs = made.value.restoreMs;
    this.record = { ...this.record, copies: made.value.tasks };
    await failpoint('move.target.restored');
    const { owner, streams } = this.record;
    if (owner !== undefined && streams.length > 0) {
      const settled = await ports.streams.settle(owner, streams);
      if (!settled.ok) return this.failed(`standard streams: ${settled.detail}`);
    }
    return { type: 'restored' };
  }

  private streamsOwner(): Partial<TargetRecord> {
    const owner = this.receiver.offer?.owner;
    return owner === undefined ? {} : { owner };
  }
  private failed(detail: string, errno = 'ECANCELED'): TargetEvent {
    return { type: 'restoreFailed', failure: { errno, detail } };
  }

  /** From its record on the copy is only destroyed by the source's word. */
  private async vow(): Promise<TargetEvent | undefined> {
    if (this.phase !== 'prepared') {
      const kept = await this.identify();
      const written = kept.ok ? await this.write('prepared') : kept;
      if (!written.ok) return this.failed(unwritten(written).detail, unwritten(written).errno);
    }
    await this.parts.node.deps.failpoint('move.target.prepared');
    // The source hears of it, unless something else was decided meanwhile.
    if (this.machine.state().value === 'prepared') this.reach('prepared');
    // A view that came before the record: nobody will say it again.
    this.look();
    return undefined;
  }

  /** Hops, births and owners, for the scans of this service and of the next. */
  private async identify(): Promise<RecordReply> {
    const refs = new Map(this.record.copies.map((c) => [c.pid, c]));
    for (const t of this.record.tasks) {
      const ref = refs.get(t.pid);
      const kept = ref ? await this.parts.local.identify(ref, identityOf(t)) : ok();
      if (!kept.ok) return kept;
    }
    this.identified = true;
    return ok();
  }

  private restoreTree(): Promise<Reply<RestoreResult, 'ECANCELED' | ToldErrno>> {
    const { ports, tracer } = this.parts.node.deps;
    const { owner, root, shellJob, tty, program } = this.record;
    const [first] = this.record.tasks;
    if (program) return startInstead(ports, this.record, program);
    const path = owner === undefined ? undefined : ports.streams.tty(owner)?.path;
    return withSpan(tracer, 'criu restore', { parent: this.context.traceparent }, () =>
      ports.criu.restore({
        moveId: this.moveId,
        root,
        shellJob,
        ...(first && shellJob ? { session: { sid: first.sid, pgid: first.pgid } } : {}),
        ...(this.record.tcpEstablished ? { tcpEstablished: true } : {}),
        ...(tty && path ? { tty: { external: tty.external, path } } : {}),
      }),
    );
  }

  private async run(): Promise<TargetEvent> {
    const { node, local, holds, moves, reporter } = this.parts;
    const { ports, failpoint } = node.deps;
    const { owner, copies, tasks } = this.record;
    // Without this record a restart waits for the source, which goes on asking until `resumed` is on record.
    await this.enter('resuming');
    this.reach('resuming');
    await failpoint('move.target.resuming');
    const stopped = tasks.filter((t) => t.stopped).map((t) => t.pid);
    if (!this.identified) await this.identify();
    local.arrived(this.pidList());
    moves.arrived(this.pidList());
    if (owner !== undefined) await ports.streams.resume(owner);
    if (this.record.tcpEstablished) await ports.criu.cleanUp();
    await insist(node, () => this.address().open(copies.map((c) => c.pid)));
    await insist(node, () => ports.criu.resume(copies, stopped));
    await failpoint('move.target.running');
    await insist(node, async () => {
      const kept = await this.enter('resumed');
      // It runs: its images are room.
      if (!kept.ok) await ports.images.remove(this.moveId);
      return kept;
    });
    // The source has its answer; the move is over when the table shows the tree.
    await local.refresh();
    void holds.giveBack(this.moveId);
    reporter.nudge();
    return { type: 'running' };
  }

  private async destroy(): Promise<TargetEvent> {
    const { node, local, holds } = this.parts;
    const { ports, failpoint } = node.deps;
    // Without this record a restart makes the copy again, for a source that asks again.
    await this.enter('destroying');
    this.reach('destroying');
    await failpoint('move.target.destroying');
    this.receiver.close();
    await ports.criu.discard(this.moveId);
    ports.ahead?.discard(this.moveId);
    await this.destroyCopies();
    if (this.record.tried) await insist(node, () => this.address().drop());
    const owner = this.record.owner ?? this.receiver.offer?.owner;
    if (owner !== undefined) await this.parts.removeStreams(owner);
    this.parts.removeImages(this.moveId);
    await ports.criu.cleanUp();
    for (const copy of this.record.copies) local.forget(copy);
    local.show(this.pidList());
    await holds.giveBack(this.moveId);
    // What was answered must hold after a restart: it is on record, or there is no record at all.
    await insist(node, async () => {
      const kept = await this.enter('aborted');
      return kept.ok ? kept : ports.records.remove(this.moveId);
    });
    this.reach('aborted');
    return { type: 'destroyed' };
  }

  private address() {
    return moveAddress(this.parts.node, this.record.tasks);
  }
  addresses(): string[] {
    const { address } = this.address();
    return address === undefined ? [] : [address];
  }

  /** After a restart the copies are only known by their numbers, which nobody else can have here. */
  private async destroyCopies(): Promise<void> {
    const { node } = this.parts;
    const { criu, processes } = node.deps.ports;
    await insist(node, async () => {
      const copies = [...this.record.copies];
      if (copies.length === 0 && this.record.tried)
        for (const pid of this.pidList()) {
          const found = this.parts.holds.has(pid) ? undefined : await processes.inspect(pid);
          if (found) copies.push({ pid, startTicks: found.startTicks });
        }
      return copies.length === 0 ? ok() : criu.destroy(copies);
    });
  }

  private close(): void {
    this.offView();
    this.receiver.close();
    this.finish();
  }
}

const identityOf = (t: MoveTask) => ({
  hop: t.hop + 1,
  born: t.born ?? 0,
  ...(t.owner === undefined ? {} : { owner: t.owner }),
  ...(t.run
    ? {
        run: {
          tty: t.run.tty,
          pin: t.run.pin,
          uid: t.run.uid,
          gid: t.run.gid,
          ...(t.run.sigcluster === undefined ? {} : { sigcluster: t.run.sigcluster }),
          ...(t.run.addr === undefined ? {} : { addr: t.run.addr }),
        },
      }
    : {}),
});
