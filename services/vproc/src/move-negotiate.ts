// First step of a move, at the source: what belongs to the tree, whether anything here stands against a
// move, and whether the target would take it. Nothing is stopped yet. Also answers `whyNot`.
import {
  cfsClient,
  fail,
  ics,
  type MoveReason,
  type MoveTask,
  ok,
  type Reply,
  type ReplyOf,
  vproc,
} from '@ssi/contracts';
import type { BareConnection, CallContext, Stream } from '@ssi/ports';
import { withSpan } from '@ssi/telemetry';
import type { ExecEntry } from './exec-table.ts';
import { addressOf } from './floating-addresses.ts';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';
import type { SourceRecord } from './migrate.ts';
import { roomReasons } from './move-room.ts';
import { moveSet, numbersOf } from './move-set.ts';
import type { SourceMove } from './move-source.ts';
import { inSomeRange } from './pid.ts';
import { type NewProgram, surveyExec } from './rexec.ts';
import type { Stubs } from './stubs.ts';

type NegotiateReply = ReplyOf<(typeof vproc)['ops']['moveNegotiate']>;

export interface NegotiationRequest {
  readonly group: boolean;
  readonly force: boolean;
  /** All of its memory goes with the images. */
  readonly plain?: boolean;
  /** It goes when the tree runs at the target already. */
  readonly postCopy?: boolean;
  /** Not the tree moves, but this takes the place of its root. */
  readonly program?: NewProgram;
}

export interface Survey {
  readonly tasks: ExecEntry[];
  readonly reasons: MoveReason[];
  readonly files: { path: string; sizeBytes: number; digest?: string }[];
  readonly bytesEstimate: number;
  readonly standIn?: boolean;
  readonly tcpEstablished?: boolean;
}

const streamConnectMs = 5_000;

export const toMoveTask = (e: ExecEntry): MoveTask => ({
  pid: e.pid,
  ppid: e.ppid,
  pgid: e.pgid,
  sid: e.sid,
  tids: [...e.tids],
  command: e.command,
  hop: e.hop,
  born: e.born,
  ...(e.kind ? { kind: e.kind } : {}),
  ...(e.state === 'stopped' ? { stopped: true } : {}),
  ...(e.owner === undefined ? {} : { owner: e.owner }),
  ...(e.run ? { run: e.run } : {}),
});

/** The tree and everything on this node that stands against its moving. */
export async function survey(
  node: LocalNode,
  local: LocalProcesses,
  stubs: Stubs,
  q: { pid: number; group: boolean; force: boolean },
): Promise<Reply<Survey, 'ESRCH'>> {
  await local.refresh();
  // A stub is a program that stands in for one: an actor needs none.
  const native = local.table.get(q.pid)?.kind !== 'actor';
  const set = moveSet([...local.table.values()], { ...q, initPids: [0, 1], stubs: native });
  if (set.tasks.length === 0) return fail('ESRCH', `no process ${q.pid} here`);
  const reasons = [...set.reasons];
  const pids = set.tasks.map((t) => t.pid);
  const view = node.view;
  for (const n of numbersOf(set.tasks))
    if (view && !inSomeRange(view, n))
      reasons.push({ code: 'EPIDRANGE', pid: n, detail: `${n} is from no node's range` });
  for (const t of set.tasks)
    if (t.run?.pin && !q.force)
      reasons.push({ code: 'EPINNED', pid: t.pid, detail: 'pinned here when it was started' });
  if (node.frozen) reasons.push({ code: 'EFROZEN', detail: 'this node has no lease' });
  const { preflight, streams } = node.deps.ports;
  const away = stubs.childOf(pids);
  if (away !== undefined)
    reasons.push({ code: 'EPARENT', pid: away, detail: `its child ${away} is on another node` });
  const [root] = set.tasks;
  const leaves = set.standIn || root?.sid !== root?.pid;
  const mine = root?.owner === undefined || pids.includes(root.owner) || !leaves;
  if (!mine) reasons.push(...(await sharedStreams(node, root.owner as number, pids)));
  const tasks: ExecEntry[] = mine ? set.tasks : set.tasks.map(({ owner: _, ...task }) => task);
  const owner = tasks[0]?.owner;
  if (owner !== undefined) reasons.push(...(await leftHolding(node, local, owner, q)));
  const paths = owner === undefined ? undefined : streams.paths(owner);
  const addr = addressOf(tasks);
  const found = await preflight.inspect({
    pids,
    digests: true,
    ...(paths ? { streams: paths } : {}),
    ...(addr ? { addr } : {}),
  });
  if (!found.ok) return found;
  reasons.push(...found.value.reasons);
  reasons.push(...(await clusterLocks(node, pids, found.value.onCfs ?? [])));
  reasons.push(...(await roomReasons(node, found.value.bytesEstimate)));
  const files = found.value.files.map((f) => ({ ...f }));
  const { bytesEstimate } = found.value;
  const tcpEstablished = addr !== undefined || found.value.tcpEstablished === true;
  return ok({ tasks, reasons, files, bytesEstimate, standIn: set.standIn, tcpEstablished });
}

/** The kernel does not list locks of a FUSE mount: its client on this node knows them. */
export async function clusterLocks(
  node: LocalNode,
  pids: readonly number[],
  open: readonly number[],
): Promise<MoveReason[]> {
  if (open.length === 0) return [];
  const told = await node.deps.ics.call(cfsClient, 'locks', node.num, {});
  if (!told.ok) {
    const detail = `what it has locked on the cluster file system is not known: ${told.errno}`;
    return [{ code: 'ELOCK', pid: pids[0], detail }];
  }
  return told.value.held
    .filter((l) => (l.flock ? open.includes(l.ino) : pids.includes(l.pid)))
    .map(({ ino, pid }) => ({
      ...{ code: 'ELOCK' as const, pid },
      detail: `has a lock on inode ${ino} of the cluster file system`,
    }));
}

/** Standard streams go with the tree: who stays and has one of them open would write to nobody. */
async function leftHolding(
  node: LocalNode,
  local: LocalProcesses,
  owner: number,
  q: { pid: number; group: boolean },
): Promise<MoveReason[]> {
  const { holders, streams } = node.deps.ports;
  const paths = streams.paths(owner);
  const open = paths && holders ? await holders.of(paths) : [];
  // Looked at again: what was forked meanwhile belongs to the tree, what ended holds nothing.
  await local.refresh();
  const tree = moveSet([...local.table.values()], { ...q, initPids: [0, 1] });
  const inTree = new Set(tree.tasks.map((t) => t.pid));
  return open
    .filter(({ pid }) => !inTree.has(pid) && local.table.has(pid))
    .map(({ pid }) => ({
      code: 'EEXTERNALFD' as const,
      pid,
      detail: `it would stay, but has standard streams of ${owner} open, which would move`,
    }));
}

/** Standard streams stay with the parent: a child that has one of them open cannot go without it. */
async function sharedStreams(
  node: LocalNode,
  owner: number,
  pids: readonly number[],
): Promise<MoveReason[]> {
  const { holders, streams } = node.deps.ports;
  const paths = streams.paths(owner);
  const open = paths && holders ? await holders.of(paths) : [];
  return open
    .filter(({ pid }) => pids.includes(pid))
    .map(({ pid }) => ({
      code: 'EEXTERNALFD',
      pid,
      detail: `has standard streams of ${owner} open, which stay with its parent`,
    }));
}

/** Asks the target; a target that is not UP is a reason like any other. */
export async function askTarget(
  node: LocalNode,
  q: {
    moveId: string;
    dryRun: boolean;
    root: number;
    to: number;
    survey: Survey;
    plain?: boolean;
    postCopy?: boolean;
  },
  context: CallContext,
): Promise<Reply<NegotiateReply, 'EAGAIN' | 'EHOSTDOWN' | 'ENETDOWN'>> {
  const { criu, preflight } = node.deps.ports;
  const peer = node.memberUp(q.to);
  const self = node.self;
  if (!peer || !self) return ok({ reasons: [{ code: 'ENODE', detail: `node ${q.to} is not UP` }] });
  const kind = q.survey.tasks[0]?.kind ?? 'native';
  // An actor needs nothing of the kernel.
  const version = kind === 'native' ? await criu.version() : ok('');
  if (!version.ok)
    return ok({ reasons: [{ code: 'EKERNELFEATURE', detail: `no criu here: ${version.detail}` }] });
  const reply = await node.deps.ics.call(
    vproc,
    'moveNegotiate',
    q.to,
    {
      moveId: q.moveId,
      dryRun: q.dryRun,
      root: q.root,
      kind,
      tasks: q.survey.tasks.map(toMoveTask),
      files: q.survey.files,
      kernel: kind === 'native' ? preflight.kernel() : '',
      criu: version.value,
      cpuFlags: kind === 'native' ? [...preflight.cpuFlags()] : [],
      bytesEstimate: q.survey.bytesEstimate,
      ...(!q.plain && worthAhead(node, q.survey, q.postCopy ?? false) ? { ahead: true } : {}),
      source: { node: self.num, incarnation: self.incarnation },
    },
    { context },
  );
  if (reply.ok) return reply;
  if (reply.errno === 'EHOSTDOWN' || reply.errno === 'ENETDOWN')
    return fail(reply.errno, reply.detail);
  return fail('EAGAIN', `node ${q.to} did not answer: ${reply.errno} ${reply.detail}`);
}

/** Below this the images are sent in the time that the rest of a move takes. */
const aheadMinBytes = 32 * 1024 * 1024;
const worthAhead = (node: LocalNode, { bytesEstimate, tasks }: Survey, asked: boolean): boolean =>
  node.deps.ports.ahead !== undefined &&
  node.deps.streams.connectBare !== undefined &&
  tasks[0]?.kind !== 'actor' &&
  (asked || bytesEstimate >= aheadMinBytes);

export const reasonsText = (reasons: readonly MoveReason[]): string =>
  reasons.map((r) => `${r.code}${r.pid === undefined ? '' : ` ${r.pid}`}: ${r.detail}`).join('; ');

type NegotiationErrno = 'EBUSY' | 'EOPNOTSUPP' | 'EHOSTDOWN' | 'ENETDOWN' | 'EAGAIN' | 'ESRCH';

export class Negotiation {
  stream: Stream | undefined;
  /** For memory that goes ahead. */
  ahead: BareConnection | undefined;
  private readonly move: SourceMove;
  private readonly request: NegotiationRequest;

  constructor(move: SourceMove, request: NegotiationRequest) {
    this.move = move;
    this.request = request;
  }

  /** The record's part that is known now. */
  run(): Promise<Reply<Partial<SourceRecord>, NegotiationErrno>> {
    const { move } = this;
    const { node } = move.parts;
    return withSpan(
      node.deps.tracer,
      'negotiate',
      { parent: move.context.traceparent },
      async (traceparent) => {
        const context = { ...move.context, ...(traceparent ? { traceparent } : {}) };
        const reply = await this.agree(context);
        if (reply.ok) await node.deps.failpoint('move.source.negotiated');
        return reply;
      },
    );
  }

  /** All of the tree or nothing, in one turn; undefined: done, else a process that another move has. */
  private claim(pids: readonly number[]): number | undefined {
    const { parts, moveId } = this.move;
    for (const other of parts.moves.active.values()) {
      if (other.moveId === moveId) continue;
      const has = pids.find((pid) => other.pids.has(pid));
      if (has !== undefined && (other.side === 'source' || other.holdsSignals())) return has;
    }
    this.move.claimed = new Set([...this.move.claimed, ...pids]);
    return undefined;
  }

  private async agree(
    context: CallContext,
  ): Promise<Reply<Partial<SourceRecord>, NegotiationErrno>> {
    const { parts, record, moveId } = this.move;
    const { node, local } = parts;
    // Membership's word and the router's way, while this looks at the tree.
    const [confirmed, route, found] = await Promise.all([
      node.confirm(record.peer, context),
      node.deps.ics.call(ics, 'route', node.num, { peer: record.peer }, { context }),
      this.request.program
        ? surveyExec(node, local, record.root)
        : survey(node, local, parts.stubs, { pid: record.root, ...this.request }),
    ]);
    if (!confirmed.ok) return refusal(confirmed);
    if (!route.ok) return refusal(route);
    if (!found.ok) return found;
    const { tasks, reasons } = found.value;
    const busy = this.claim(tasks.map((t) => t.pid));
    if (busy !== undefined) return fail('EBUSY', `${busy} is being moved already`);
    if (reasons.length > 0) return fail('EOPNOTSUPP', reasonsText(reasons));
    const { postCopy } = this.request;
    // Its stopped copy becomes the stub, with another memory.
    if (postCopy && found.value.standIn)
      return fail('EOPNOTSUPP', 'post-copy: its parent stays; move it without --post-copy');
    const root = tasks[0]?.pid ?? record.root;
    const asked = await askTarget(
      node,
      {
        ...{ moveId, dryRun: false, root, to: record.peer.num, survey: found.value },
        ...(this.request.plain ? { plain: true } : {}),
        ...(this.request.postCopy ? { postCopy: true } : {}),
      },
      context,
    );
    if (!asked.ok) return asked;
    const { grant } = asked.value;
    if (asked.value.reasons.length > 0 || !grant)
      return fail('EOPNOTSUPP', reasonsText(asked.value.reasons) || 'the target gave no stream');
    // The router's order first: it has measured; then whatever else the target named.
    const addresses = [
      ...route.value.addresses.filter((a) => grant.addresses.includes(a)),
      ...grant.addresses.filter((a) => !route.value.addresses.includes(a)),
    ];
    const there = { node: record.peer.num, addresses, port: grant.port };
    const stream = await node.deps.streams.connect(there, grant.token, streamConnectMs);
    if (!stream.ok) return fail('EAGAIN', `no stream to node ${record.peer.num}: ${stream.detail}`);
    this.stream = stream.value;
    if (grant.aheadToken !== undefined) {
      const { aheadToken } = grant;
      const ahead = await node.deps.streams.connectBare?.(there, aheadToken, streamConnectMs);
      if (ahead?.ok) this.ahead = ahead.value;
    }
    if (postCopy && !this.ahead)
      return fail('EOPNOTSUPP', 'post-copy: not between these nodes; move it without --post-copy');
    const owner = tasks[0]?.owner;
    return ok({
      root,
      tasks: tasks.map(toMoveTask),
      copies: tasks.map(({ pid, startTicks }) => ({ pid, startTicks })),
      stoppedBefore: tasks.filter((t) => t.state === 'stopped').map((t) => t.pid),
      ...(owner === undefined ? {} : { owner }),
      ...(found.value.standIn ? { standIn: true } : {}),
      ...(found.value.tcpEstablished ? { tcpEstablished: true } : {}),
    });
  }
}

function refusal(reply: { errno: string; detail: string }): Reply<never, NegotiationErrno> {
  if (reply.errno === 'EHOSTDOWN' || reply.errno === 'ENETDOWN')
    return fail(reply.errno, reply.detail);
  return fail('EAGAIN', `${reply.errno} ${reply.detail}`);
}
