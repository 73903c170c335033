// The operations of moving, and the moves that a restart finds on record. One tree is in one move at a
// time; everything about a move is idempotent by its id.
import {
  type Errno,
  fail,
  type MemberId,
  type OriginEntry,
  ok,
  type Reply,
  type ReplyOf,
  type RequestOf,
  vproc,
} from '@ssi/contracts';
import type { ServedCall } from '@ssi/ports';
import { untilDone } from './backoff.ts';
import { isMoveRecord, type TargetRecord } from './migrate.ts';
import { admit, type NegotiateReply, type NegotiateRequest, objections } from './move-admission.ts';
import { aheadFailed } from './move-ahead.ts';
import { askTarget, type NegotiationRequest, survey } from './move-negotiate.ts';
import type { MoveParts } from './move-parts.ts';
import { type Moved, newSourceRecord, SourceSide } from './move-source.ts';
import { TargetSide } from './move-target.ts';
import { remember } from './process-table.ts';

type Ops = (typeof vproc)['ops'];

/** Finished moves that are still answered for, when a message comes late or twice. */
const finishedMax = 256;
/** Moves that were aborted before anything was heard of them. */
const refusedMax = 1_024;

export class Migrations {
  private readonly parts: MoveParts;
  private readonly targets = new Map<string, TargetSide>();
  private readonly negotiating = new Map<string, Promise<Reply<NegotiateReply, Errno>>>();
  private readonly grants = new Map<string, { revoke(): void }>();
  private readonly refused = new Set<string>();

  constructor(parts: MoveParts) {
    this.parts = parts;
  }

  /** After a start: every move on record goes on where its record says; what none claims is removed. */
  async adopt(): Promise<void> {
    const { images } = this.parts.node.deps.ports;
    const known = new Set<string>();
    for (const { record } of await this.onRecord()) {
      if (!isMoveRecord(record)) continue;
      known.add(record.moveId);
      if (record.side === 'source')
        this.begin(new SourceSide(this.parts, { record, context: { priority: 2 } }));
      else this.keepTarget(new TargetSide(this.parts, record));
    }
    const { node } = this.parts;
    const folders = await untilDone(node, 'image folders', () => images.list());
    for (const id of folders) if (!known.has(id)) this.parts.removeImages(id);
  }

  /** Owners whose streams stand still until their move is decided. */
  async pausedOwners(): Promise<number[]> {
    return (await this.onRecord()).flatMap(({ record }) =>
      isMoveRecord(record) && record.owner !== undefined && !isOver(record.phase)
        ? [record.owner]
        : [],
    );
  }

  private onRecord() {
    const { node } = this.parts;
    return untilDone(node, 'moves', () => node.deps.ports.records.list());
  }

  private begin(side: SourceSide): SourceSide {
    this.parts.moves.add(side);
    return side;
  }
  private keepTarget(side: TargetSide): TargetSide {
    this.targets.set(side.moveId, side);
    this.parts.moves.add(side);
    void side.over.then(() => this.trim());
    return side;
  }
  private trim(): void {
    const { records } = this.parts.node.deps.ports;
    const done = [...this.targets.values()].filter((t) => !this.parts.moves.active.has(t.moveId));
    for (const t of done.slice(0, Math.max(0, done.length - finishedMax))) {
      this.targets.delete(t.moveId);
      void records.remove(t.moveId);
    }
  }

  async migrate(
    request: RequestOf<Ops['migrate']>,
    call: Pick<ServedCall, 'context'>,
  ): Promise<
    Reply<Moved & { pid: number; from: number; to: number }, Ops['migrate']['errnos'][number]>
  > {
    const how = {
      group: request.group ?? false,
      force: (request.force ?? false) && request.uid === 0,
      postCopy: request.postCopy ?? false,
    };
    const first = await this.start(request, call, how);
    const again = !first.ok && first.detail.startsWith(aheadFailed);
    const moved = again
      ? await this.start(request, call, { ...how, plain: true, postCopy: false })
      : first;
    const { node } = this.parts;
    const { pid, to } = request;
    if (moved.ok) return ok({ pid, from: node.num, to, ...moved.value });
    return { ...moved, errno: migrateErrno(moved.errno) };
  }

  async rexec(
    request: RequestOf<Ops['rexec']>,
    call: ServedCall,
  ): Promise<Reply<{ pid: number; node: number }, Ops['rexec']['errnos'][number]>> {
    const { pid, to, argv, env } = request;
    const program = { argv, env };
    const moved = await this.start(request, call, { group: false, force: false, program });
    if (moved.ok) return ok({ pid, node: to });
    return { ...moved, errno: rexecErrnos.find((e) => e === moved.errno) ?? 'ECANCELED' };
  }

  /** One move from here, to its end; everything that is known to forbid it is said before it begins. */
  private async start(
    request: { pid: number; to: number; uid: number },
    call: Pick<ServedCall, 'context'>,
    how: NegotiationRequest,
  ): Promise<Reply<Moved, Errno>> {
    const { node, local, moves } = this.parts;
    const { pid, to } = request;
    await local.refresh();
    const entry = local.table.get(pid);
    if (!entry) return moves.notHere(pid, node.num);
    if (request.uid !== 0 && request.uid !== entry.uid)
      return fail('EPERM', `${pid} belongs to user ${entry.uid}`);
    if (to === node.num) return fail('EINVAL', `ESELF: ${pid} is on node ${node.num} already`);
    if (!node.memberUp(to)) return fail('EHOSTDOWN', `node ${to} is not UP: see ssi nodes`);
    if (!node.leased || node.frozen) return fail('ENETDOWN', `node ${node.num} has no lease`);
    const peer = node.memberUp(to) as MemberId;
    const busy = moves.of(pid);
    if (busy?.holdsSignals() || busy?.side === 'source')
      return fail('EBUSY', `${pid} is being moved already`);
    const moveId = node.deps.random.hex(16);
    const record = newSourceRecord({
      ...{ moveId, root: pid, peer },
      ...(how.postCopy ? { postCopy: true } : {}),
    });
    const side = new SourceSide(this.parts, { record, context: call.context, request: how });
    return this.begin(side).outcome();
  }

  async whyNot(
    request: RequestOf<Ops['whyNot']>,
    call: ServedCall,
  ): Promise<
    Reply<{ movable: boolean; reasons: NegotiateReply['reasons'] }, 'ESRCH' | 'EREMCHG' | 'EAGAIN'>
  > {
    const { node, local, moves } = this.parts;
    const { pid, to } = request;
    const how = { pid, group: request.group ?? false, force: false };
    const found = await survey(node, local, this.parts.stubs, how);
    if (!found.ok) return moves.notHere(pid, node.num);
    const reasons = [...found.value.reasons];
    if (to === node.num) reasons.push({ code: 'ESELF', pid, detail: `it is on node ${to}` });
    else if (to !== undefined) {
      const q = { moveId: node.deps.random.hex(16), dryRun: true, root: pid, to };
      const asked = await askTarget(node, { ...q, survey: found.value }, call.context);
      if (asked.ok) reasons.push(...asked.value.reasons);
      else reasons.push({ code: 'ENODE', detail: `node ${to}: ${asked.errno} ${asked.detail}` });
    }
    return ok({ movable: reasons.length === 0, reasons });
  }

  async negotiate(
    request: NegotiateRequest,
    call: ServedCall,
  ): Promise<Reply<NegotiateReply, 'EAGAIN' | 'ESTALE' | 'ENETDOWN'>> {
    await this.forgetFormer(request, call);
    if (request.dryRun) return objections(this.parts, request).then((reasons) => ok({ reasons }));
    if (this.refused.has(request.moveId)) return fail('ESTALE', 'aborted before');
    const before = this.negotiating.get(request.moveId);
    const work = before ?? this.reserve(request, call);
    this.negotiating.set(request.moveId, work);
    return work as Promise<Reply<NegotiateReply, 'EAGAIN' | 'ESTALE' | 'ENETDOWN'>>;
  }

  /**
   * What the source has given up, its word of that being on its way or never to come: by a restart, or since
   * it asks anew for the same processes. What was reserved for it must not stand in its own way.
   */
  private async forgetFormer(request: NegotiateRequest, call: ServedCall): Promise<void> {
    const again = request.dryRun ? [] : request.tasks.map((t) => t.pid);
    for (const t of this.targets.values()) {
      const unsettled = t.state() === 'reserved' || t.state() === 'destroying';
      if (!unsettled || t.moveId === request.moveId || t.record.peer.num !== request.source.node)
        continue;
      if (t.askedBy !== call.from.bootId || again.some((pid) => t.pids.has(pid)))
        if ((await t.abort(call.signal)).ok) await t.over;
    }
  }

  private async reserve(
    request: NegotiateRequest,
    call: ServedCall,
  ): Promise<Reply<NegotiateReply, Errno>> {
    const { moveId } = request;
    const { node } = this.parts;
    const answer = await admit(this.parts, request, call);
    if (!answer.ok || !answer.value.grant) {
      this.negotiating.delete(moveId);
      return answer;
    }
    if (this.refused.has(moveId)) return fail('ESTALE', 'aborted meanwhile');
    const made = await node.deps.ports.images.create(moveId);
    if (!made.ok) {
      this.negotiating.delete(moveId);
      return ok({ reasons: [{ code: 'ENOSPACE', detail: made.detail }] });
    }
    const side = this.keepTarget(
      new TargetSide(
        this.parts,
        targetRecord(request, {
          streams: [],
          shellJob: false,
          ...(node.self ? { life: node.self.incarnation } : {}),
        }),
        call.from.bootId,
      ),
    );
    const { token, aheadToken } = answer.value.grant;
    const accepted = node.listener?.accept(token, (stream) => {
      void side.receiver.take(stream);
    });
    const ahead =
      aheadToken === undefined
        ? undefined
        : node.listener?.acceptBare?.(aheadToken, (c) => side.receiver.takeAhead(c));
    this.grants.set(moveId, {
      revoke: () => {
        accepted?.revoke();
        ahead?.revoke();
      },
    });
    void side.over.then(() => {
      this.grants.get(moveId)?.revoke();
      this.grants.delete(moveId);
      this.negotiating.delete(moveId);
    });
    await node.deps.failpoint('move.target.reserved');
    return answer;
  }

  async restore(
    request: RequestOf<Ops['moveRestore']>,
    call: ServedCall,
  ): ReturnType<TargetSide['restore']> {
    const side = this.targets.get(request.moveId);
    // A restart forgot a reservation: nothing of the tree is here.
    if (!side) return fail('ECANCELED', 'the target does not know this move');
    const { tty, program } = request;
    const made = await side.restore(
      {
        tasks: request.tasks,
        streams: request.streams,
        shellJob: request.shellJob ?? false,
        ...(request.tcpEstablished ? { tcpEstablished: true } : {}),
        ...(tty ? { tty } : {}),
        ...(program ? { program } : {}),
      },
      call.context,
      call.signal,
    );
    if (!made.ok) return made;
    // The source decides by this word: a node that its membership has left must not give it.
    const confirmed = await this.parts.node.confirm(side.record.peer, call.context);
    return confirmed.ok ? made : fail('EAGAIN', `${confirmed.errno} ${confirmed.detail}`);
  }

  async commit(
    request: { moveId: string },
    call: ServedCall,
  ): Promise<Reply<{ resumed: boolean }, 'ESTALE' | 'ESRCH' | 'EAGAIN'>> {
    const side = this.targets.get(request.moveId);
    return side ? side.commit(call.signal) : fail('ESRCH', 'the target does not know this move');
  }

  async abort(
    request: { moveId: string },
    call: ServedCall,
  ): Promise<Reply<Record<string, never>, 'EALREADY' | 'EAGAIN'>> {
    remember(this.refused, request.moveId, refusedMax);
    // A negotiation under way may still reserve: its end is awaited, then undone.
    await this.negotiating.get(request.moveId);
    const side = this.targets.get(request.moveId);
    return side ? side.abort(call.signal) : ok({});
  }

  status({ moveId }: RequestOf<Ops['moveStatus']>): Reply<ReplyOf<Ops['moveStatus']>, 'ESRCH'> {
    const side = this.targets.get(moveId);
    const failure = side?.failure();
    if (side) return ok({ phase: `target ${side.state()}`, ...(failure ? { failure } : {}) });
    return this.parts.moves.active.has(moveId)
      ? ok({ phase: 'source' })
      : fail('ESRCH', 'no such move');
  }

  /** What moves of this node say of processes that no scan shows. */
  told(): OriginEntry[] {
    return this.parts.moves.told();
  }
}

/** Decided here to the end; kept only to answer for it. */
const isOver = (phase: string): boolean => phase === 'resumed' || phase === 'aborted';

const rexecErrnos = vproc.ops.rexec.errnos;
const migrateErrnos = vproc.ops.migrate.errnos;
const migrateErrno = (errno: string): (typeof migrateErrnos)[number] =>
  migrateErrnos.find((e) => e === errno) ?? 'ECANCELED';

const targetRecord = (
  request: NegotiateRequest,
  rest: Pick<TargetRecord, 'streams' | 'shellJob' | 'life'>,
): TargetRecord => ({
  side: 'target',
  phase: 'restoring',
  moveId: request.moveId,
  root: request.root,
  peer: { num: request.source.node, incarnation: request.source.incarnation },
  tasks: request.tasks,
  copies: [],
  ...rest,
});
