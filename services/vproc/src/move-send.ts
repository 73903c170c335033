// Freeze, dump and send: the log's older part goes while the tree still runs; then criu stops it, its
// images are sent as they are written, and last what the tree wrote and has not read until it stopped.
import {
  fail,
  type MoveProgram,
  type MoveReason,
  type MoveTask,
  ok,
  type Reply,
  type StreamState,
} from '@ssi/contracts';
import type { Clock, Stream } from '@ssi/ports';
import { beginSpan } from '@ssi/telemetry';
import { moveAddress } from './floating-addresses.ts';
import { finishAhead, sendAhead } from './move-ahead.ts';
import { encodeMove, type MoveMessage, moveKind } from './move-link.ts';
import { clusterLocks, reasonsText, toMoveTask } from './move-negotiate.ts';
import { unwritten } from './move-parts.ts';
import { stalledMs } from './move-receive.ts';
import type { SourceMove } from './move-source.ts';
import type { Dump, DumpResult, Halted } from './ports.ts';
import { haltInstead, type NewProgram } from './rexec.ts';

/** Bytes of a log in one message. */
const logChunk = 262_144;

export interface SentTree {
  /** ms of CLOCK_BOOTTIME. */
  readonly freezeAtMs: number;
  readonly bytes: number;
  readonly states: StreamState[];
  readonly tty?: { external: string; rows: number; cols: number };
  readonly shellJob: boolean;
  /** Instead of images. */
  readonly program?: MoveProgram;
}

export async function sendTree(move: SourceMove): Promise<Reply<SentTree, 'ECANCELED' | 'ENOSPC'>> {
  const { node } = move.parts;
  const { criu } = node.deps.ports;
  const stream = move.negotiation?.stream;
  if (!stream) return fail('ECANCELED', 'no stream to the target');
  const logs = new LogSender(move, stream);
  const prefix = await logs.before();
  if (!prefix.ok) return prefix;
  const ahead = await sendAhead(move);
  const begun = await move.write('dumping');
  if (!begun.ok) return noRecord(begun);
  await node.deps.failpoint('move.source.dumping');
  const quiet = await moveAddress(node, move.record.tasks).quiet();
  if (!quiet.ok) {
    ahead?.stop();
    return fail('ECANCELED', quiet.detail);
  }
  const startMs = node.deps.clock.nowMs();
  const root = move.record.tasks[0];
  const shellJob = root !== undefined && root.sid !== root.pid;
  const tty = logs.tty();
  const [copy] = move.record.copies;
  const halt = move.program && copy ? haltInstead(node.deps.ports, copy) : undefined;
  const dump =
    halt ??
    criu.dump({
      moveId: move.moveId,
      root: move.record.root,
      to: move.record.peer.num,
      shellJob,
      ...(tty ? { tty: tty.binding } : {}),
      ...(move.record.tcpEstablished ? { tcpEstablished: true } : { tcpClosed: true }),
    });
  const sending = sendImages(node.deps.clock, stream, dump);
  const done = await dump.done;
  const sent = await sending;
  if (!done.ok) ahead?.stop();
  if (!done.ok)
    return fail(
      done.errno === 'ENOSPC' ? 'ENOSPC' : 'ECANCELED',
      `dump: ${done.errno} ${done.detail}`,
    );
  traceDump(move, startMs, done.value);
  const behind = leftBehind(move, done.value);
  const opened = openedSince(move, done.value);
  const tasks = await dumpedTasks(move, done.value);
  // On record before anything else: these copies stand still until somebody says otherwise.
  const kept = await move.write('dumping', {
    ...(tasks.ok ? { tasks: tasks.value } : {}),
    copies: done.value.tasks,
    stoppedBefore: done.value.stoppedBefore,
  });
  if (!kept.ok) return noRecord(kept);
  await node.deps.failpoint('move.source.dumped');
  if (!tasks.ok) return tasks;
  if (!sent.ok) return sent;
  const tail = await logs.after();
  if (!tail.ok) return tail;
  const left = await behind;
  if (left !== undefined)
    return fail('ECANCELED', `${left} would stay, and has to do with what would go`);
  const since = await opened;
  if (since.length > 0) return fail('ECANCELED', reasonsText(since));
  const sentAhead = await finishAhead(ahead);
  if (!sentAhead.ok) return sentAhead;
  const { clock } = node.deps;
  if (ahead) {
    const told = await write(clock, stream, [moveKind.ahead, sentAhead.value]);
    if (!told.ok) return told;
  }
  const bytes = done.value.bytes + sentAhead.value;
  const ended = await write(clock, stream, [moveKind.end, done.value.bytes]);
  if (!ended.ok) return ended;
  traceTransfer(move, done.value);
  const halted = await halt?.halted;
  return ok({
    ...(move.program && halted ? { program: programOf(move.program, halted) } : {}),
    freezeAtMs: done.value.freezeAtMs,
    bytes,
    states: tail.value,
    shellJob,
    ...(tty ? { tty: { external: tty.binding.external, ...tty.size } } : {}),
  });
}

function noRecord(reply: { errno: string; detail: string }): Reply<never, 'ECANCELED' | 'ENOSPC'> {
  const { errno, detail } = unwritten(reply);
  return fail(errno === 'ENOSPC' ? 'ENOSPC' : 'ECANCELED', detail);
}

/** What execve(2) leaves as it was comes from the old program. */
const programOf = (given: NewProgram, { cwd, uid, gid }: Halted): MoveProgram => ({
  ...given,
  ...{ cwd, uid, gid },
});

/** Who is in the images: also what was forked since the tree was looked at, without what has ended. */
async function dumpedTasks(
  move: SourceMove,
  dumped: DumpResult,
): Promise<Reply<MoveTask[], 'ECANCELED'>> {
  const { local } = move.parts;
  const surveyed = new Map(move.record.tasks.map((t) => [t.pid, t]));
  if (dumped.tasks.some((d) => !surveyed.has(d.pid))) await local.refresh();
  const tasks: MoveTask[] = [];
  for (const { pid } of dumped.tasks) {
    const entry = local.table.get(pid);
    const task = surveyed.get(pid) ?? (entry ? toMoveTask(entry) : await zombieTask(move, pid));
    if (!task) return fail('ECANCELED', `${pid} was forked meanwhile and is not known`);
    // The dump stopped them all: who was stopped before is what it says.
    const { stopped: _, owner, ...known } = task;
    // Streams that stay behind are nobody's who goes.
    const rest = move.record.owner === undefined || !owner ? known : { ...known, owner };
    tasks.push(dumped.stoppedBefore.includes(pid) ? { ...rest, stopped: true } : rest);
  }
  move.claimed = new Set([...move.claimed, ...tasks.map((t) => t.pid)]);
  return ok(tasks);
}

/**
 * Since the tree was looked at: who was forked or lost its parent, holds the tree's streams, and is not in
 * the images; of a program that is replaced also any child. The tree stands still: there is no more of it.
 */
async function leftBehind(move: SourceMove, dumped: DumpResult): Promise<number | undefined> {
  const { owner, root } = move.record;
  const { local, node } = move.parts;
  if (owner === undefined && !move.program) return undefined;
  await local.refresh();
  const goes = new Set(dumped.tasks.map((t) => t.pid));
  for (const e of local.table.values()) {
    if (goes.has(e.pid)) continue;
    if (move.program && e.ppid === root) return e.pid;
    if (owner === undefined || e.owner !== owner) continue;
    if ((await node.deps.ports.holders?.ownerOf(e.pid)) === owner) return e.pid;
  }
  return undefined;
}

/** What stands against the move since the tree was looked at, where its files go with it. */
async function openedSince(move: SourceMove, dumped: DumpResult): Promise<readonly MoveReason[]> {
  if (move.program) return [];
  const { node } = move.parts;
  const { preflight, streams } = node.deps.ports;
  const pids = dumped.tasks.map((t) => t.pid);
  const { owner } = move.record;
  const paths = owner === undefined ? undefined : streams.paths(owner);
  const found = await preflight.opened({
    pids,
    ...(paths ? { streams: paths } : {}),
    ...(move.record.tcpEstablished ? { tcpEstablished: true } : {}),
  });
  return [...found.reasons, ...(await clusterLocks(node, pids, found.onCfs ?? []))];
}

/** One that ended just before the freeze and was not waited for: in the images, but in no control group. */
async function zombieTask(move: SourceMove, pid: number): Promise<MoveTask | undefined> {
  const found = await move.parts.node.deps.ports.processes.inspect(pid);
  if (!found) return undefined;
  const { ppid, pgid, sid, tids, command } = found;
  return { pid, ppid, pgid, sid, tids: [...tids], command, hop: 0 };
}

/** The target may know why. */
export const streamBroke = 'the stream to the target broke: ';

/** A target that takes nothing for a while is not waited for: the tree may stand still meanwhile. */
async function write(
  clock: Clock,
  stream: Stream,
  message: MoveMessage,
): Promise<Reply<undefined, 'ECANCELED'>> {
  const stalled = clock.after(stalledMs, () => stream.destroy());
  try {
    await stream.write(encodeMove(message));
    return ok();
  } catch (error) {
    return fail('ECANCELED', `${streamBroke}${String(error)}`);
  } finally {
    stalled.cancel();
  }
}

/** Reads the dump to its end in any case: it must not stand still because a target did. */
async function sendImages(
  clock: Clock,
  stream: Stream,
  dump: Dump,
): Promise<Reply<undefined, 'ECANCELED'>> {
  let result: Reply<undefined, 'ECANCELED'> = ok();
  for await (const chunk of dump.chunks) {
    if (!result.ok) continue;
    const { name, offset, last, data } = chunk;
    result = await write(clock, stream, [moveKind.image, name, offset, last, data]);
  }
  return result;
}

/** Wall clock of an instant on this machine's own clock, for spans. */
const wallOf = (move: SourceMove, atMs: number): number => {
  const { clock } = move.parts.node.deps;
  return clock.wallMs() - (clock.nowMs() - atMs);
};

function traceDump(move: SourceMove, startMs: number, d: DumpResult): void {
  const { tracer, clock } = move.parts.node.deps;
  const parent = move.context.traceparent;
  const frozen = wallOf(move, d.freezeAtMs);
  beginSpan(tracer, 'freeze', { parent, startMs: wallOf(move, startMs) }).end(undefined, frozen);
  beginSpan(tracer, 'dump', {
    parent,
    startMs: frozen,
    attributes: { 'ssi.frozen_ms': d.frozenMs, 'ssi.bytes': d.bytes, 'ssi.tasks': d.tasks.length },
  }).end(undefined, clock.wallMs());
}

function traceTransfer(move: SourceMove, d: DumpResult): void {
  const { tracer } = move.parts.node.deps;
  beginSpan(tracer, 'transfer', {
    parent: move.context.traceparent,
    // The first image leaves as soon as criu has stopped the tree.
    startMs: wallOf(move, d.freezeAtMs),
    attributes: { 'ssi.bytes': d.bytes },
  }).end();
}

class LogSender {
  private readonly move: SourceMove;
  private readonly stream: Stream;
  private readonly sentTo = new Map<StreamState['name'], number>();

  constructor(move: SourceMove, stream: Stream) {
    this.move = move;
    this.stream = stream;
  }

  private write(message: MoveMessage) {
    return write(this.move.parts.node.deps.clock, this.stream, message);
  }
  private get owner(): number | undefined {
    return this.move.record.owner;
  }

  tty() {
    const { streams } = this.move.parts.node.deps.ports;
    if (this.owner === undefined) return undefined;
    const binding = streams.tty(this.owner);
    const size = streams.ttySize(this.owner);
    return binding && size ? { binding, size } : undefined;
  }

  /** While the tree runs: what the logs hold already; then its input stands still. */
  async before(): Promise<Reply<undefined, 'ECANCELED'>> {
    if (this.owner === undefined) return ok();
    const { streams } = this.move.parts.node.deps.ports;
    const found = await streams.state(this.owner);
    if (!found.ok) return ok();
    const states = this.handedBack(found.value);
    const run = this.move.record.tasks.find((t) => t.pid === this.owner)?.run;
    const tty = this.tty();
    const offer = {
      owner: this.owner,
      states,
      uid: run?.uid ?? 0,
      gid: run?.gid ?? 0,
      ...(tty ? { tty: { external: tty.binding.external, ...tty.size } } : {}),
    };
    const told = await this.write([moveKind.streams, offer]);
    if (!told.ok) return told;
    for (const state of states) {
      const sent = await this.send(state, state.startOffset);
      if (!sent.ok) return sent;
    }
    const paused = await streams.pauseInput(this.owner);
    return paused.ok ? ok() : fail('ECANCELED', `input: ${paused.detail}`);
  }

  /** The tree stands still: the rest, and the states that go into the commit. */
  async after(): Promise<Reply<StreamState[], 'ECANCELED'>> {
    if (this.owner === undefined) return ok([]);
    const { streams } = this.move.parts.node.deps.ports;
    const paused = await streams.pause(this.owner);
    if (!paused.ok) return paused.errno === 'ENOENT' ? ok([]) : fail('ECANCELED', paused.detail);
    const states = this.handedBack(paused.value);
    for (const state of states) {
      const sent = await this.send(state, this.sentTo.get(state.name) ?? state.startOffset);
      if (!sent.ok) return sent;
    }
    return ok(states);
  }

  /** Images carry what lies unread in the input FIFO; a program that is replaced leaves it to the next. */
  private handedBack(states: readonly StreamState[]): StreamState[] {
    if (!this.move.program || this.owner === undefined) return [...states];
    const unread = this.move.parts.node.deps.ports.streams.unreadInput(this.owner);
    return states.map((state) => {
      const fedOffset = state.fedOffset - unread;
      return state.name === 'in' ? { ...state, startOffset: fedOffset, fedOffset } : state;
    });
  }

  private async send(state: StreamState, from: number): Promise<Reply<undefined, 'ECANCELED'>> {
    const { streams } = this.move.parts.node.deps.ports;
    let at = from;
    while (at < state.endOffset) {
      const max = Math.min(logChunk, state.endOffset - at);
      const piece = await streams.read(state.owner, state.name, at, max);
      if (!piece.ok) return fail('ECANCELED', piece.detail);
      const { offset, data } = piece.value;
      if (data.length === 0) break;
      const sent = await this.write([moveKind.log, state.owner, state.name, offset, data]);
      if (!sent.ok) return sent;
      at = offset + data.length;
    }
    this.sentTo.set(state.name, at);
    return ok();
  }
}
