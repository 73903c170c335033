// The standard streams of a process, wherever it is: an iterator of what it writes and a way to write to
// it, over one attached connection at a time. When that breaks (a move, a restarted service, a lost
// interconnect) the next one goes on at the same offsets. [contracts: attach.ts]
import {
  type AttachOutputName,
  attachFromServer,
  attachKind,
  type Errno,
  type ExitStatus,
  type Failure,
  fail,
  findMember,
  ok,
  type Reply,
  type ReplyOf,
  sameIncarnation,
  upMembers,
  type View,
  vproc,
} from '@ssi/contracts';
import { type Stream, sleep } from '@ssi/ports';
import { pack, unpack } from 'msgpackr';
import type { AttachEvent, Attachment, AttachOptions } from './attachment.ts';
import { inputQueue } from './input-queue.ts';
import type { ClientLink } from './link.ts';
import { outputCursor } from './output-cursor.ts';
import { isGone, type PidCalls } from './pid-calls.ts';
import type { ViewSource } from './view-source.ts';

type Grant = ReplyOf<typeof vproc.ops.attach>;

/** From a break to giving up, ms: a nodedown and a rebuild of its processes' origin fit in. */
const giveUpMs = 30_000;
const pauseMs = { first: 20, max: 500 };
const connectMs = 5_000;

export function attach(
  deps: { link: ClientLink; calls: PidCalls; views: ViewSource },
  pid: number,
  options: AttachOptions = {},
): Attachment {
  const { link, calls, views } = deps;
  const closing = new AbortController();
  const queue = inputQueue();
  let inputDone = !options.input;
  let stream: Stream | undefined;
  let sending = Promise.resolve();
  let waiters: (() => void)[] = [];
  const wake = (): void => {
    const woken = waiters;
    waiters = [];
    for (const fn of woken) fn();
  };
  const endInputSide = (): void => {
    inputDone = true;
    wake();
  };

  const send = (message: readonly unknown[]): void => {
    const to = stream;
    if (!to) return;
    sending = sending.then(() => to.write(pack(message))).catch(() => {}); // the reader sees the break
  };
  const pump = (): void => {
    for (let c = queue.take(); c; c = queue.take()) send([attachKind.input, c.offset, c.bytes]);
    const end = queue.takeEnd();
    if (end !== undefined) send([attachKind.inputEof, end]);
  };

  /** Where to connect: the execution node, or wherever the streams of an ended process still are. */
  const open = async (): Promise<Reply<{ grant: Grant; node: number }, Errno>> => {
    const request = { pid, input: !inputDone };
    let node = 0;
    const found = await calls.where(pid, { signal: closing.signal });
    if (found.ok) {
      node = found.value.entry.node;
      const reply = await calls.atExecution('attach', pid, request, {
        safe: true,
        signal: closing.signal,
        deadlineMs: connectMs,
      });
      if (reply.ok) return ok({ grant: reply.value, node });
      // Its node died with its streams: what is left is how it ended.
      if (!isGone(found.value.entry)) return reply;
    } else if (found.errno !== 'ESRCH') return found;
    // Reaped, or its own node is gone: the log may still be kept by the node where it ended.
    const view = await views.current();
    if (!view.ok) return view;
    for (const { num } of upMembers(view.value)) {
      const reply = await link.ics.call(vproc, 'attach', num, request, { timeoutMs: connectMs });
      if (reply.ok) return ok({ grant: reply.value, node: num });
    }
    const exit = found.ok ? found.value.entry.exit : undefined;
    return exit ? fail('EHOSTDOWN', JSON.stringify(exit)) : found.ok ? noStreams(pid) : found;
  };

  async function* events(): AsyncGenerator<AttachEvent, void, void> {
    let cursor: ReturnType<typeof outputCursor> | undefined;
    /** Without `follow`: where each stream ends for us. */
    let ends: Map<AttachOutputName, number> | undefined;
    let lastNode = 0;
    let pause = pauseMs.first;
    let brokenAt: number | undefined;
    let exit: ExitStatus | undefined;
    let watching: { stop(): void } | undefined;
    try {
      while (!closing.signal.aborted) {
        // As it was before: a node that is excluded and back at the first look would seem the same.
        const viewBefore = await views.current();
        const opened = await open();
        if (!opened.ok && lastErrno.has(opened.errno)) {
          const taken = opened.errno === 'ESRCH' && lastNode > 0;
          yield taken
            ? { type: 'failed', failure: fail('ESRCH', endTaken(pid, lastNode)) }
            : await ending(opened);
          return;
        }
        const streamReply = opened.ok
          ? await link.streams.connect(
              { ...opened.value.grant, node: opened.value.node },
              opened.value.grant.token,
              connectMs,
            )
          : opened;
        if (closing.signal.aborted) return;
        if (!opened.ok || !streamReply.ok) {
          const failure = opened.ok ? (streamReply as Failure) : opened;
          brokenAt ??= link.clock.nowMs();
          if (link.clock.nowMs() - brokenAt > giveUpMs) {
            yield { type: 'failed', failure };
            return;
          }
          await views.refresh();
          await sleep(link.clock, pause);
          pause = Math.min(pause * 2, pauseMs.max);
          continue;
        }
        const { grant, node } = opened.value;
        stream = streamReply.value;
        watching?.stop();
        watching = endWithNode(views, { node, before: viewBefore, stream });
        cursor ??= outputCursor(startOffsets(grant, options.from ?? 'start'));
        ends ??= options.follow === false ? endOffsets(grant) : undefined;
        send([attachKind.open, cursor.from()]);
        if (!inputDone) {
          const inputEnd = grant.streams.find((s) => s.name === 'in')?.endOffset ?? 0;
          if (!queue.resume(inputEnd)) {
            yield {
              type: 'failed',
              failure: fail('EBUSY', `somebody else has written to ${pid}`),
            };
            return;
          }
          pump();
          wake();
        }
        if (node !== lastNode) yield { type: 'attached', node, tty: grant.tty };
        lastNode = node;
        if (ends && allReached(ends, cursor.from())) return;
        for (;;) {
          const message = await read(stream);
          if (!message) break;
          brokenAt = undefined;
          pause = pauseMs.first;
          const [kind] = message;
          if (kind === attachKind.data) {
            const fresh = cursor.accept(message[1], message[2], message[3]);
            if (fresh?.gap) yield { type: 'gap', stream: message[1], bytes: fresh.gap };
            if (fresh)
              yield { type: 'data', stream: message[1], offset: fresh.offset, bytes: fresh.bytes };
            send([attachKind.ack, message[1], message[2] + message[3].length]);
            if (ends && allReached(ends, cursor.from())) return;
          } else if (kind === attachKind.ack) {
            queue.acked(message[2]);
            wake();
          } else if (kind === attachKind.eof) {
            yield { type: 'eof', stream: message[1] };
          } else if (kind === attachKind.exit) {
            exit = message[1];
          } else if (kind === attachKind.moved) break;
          // A node that knew the end before we asked may tell it first: what was in its log when we
          // attached is still to come.
          if (exit && allReached(endOffsets(grant), cursor.from())) {
            yield { type: 'exit', status: exit };
            return;
          }
        }
        stream.destroy();
        stream = undefined;
        brokenAt ??= link.clock.nowMs();
        // A broken connection is tried again at once, and then at growing intervals.
        if (pause > pauseMs.first) await sleep(link.clock, pause);
        pause = Math.min(pause * 2, pauseMs.max);
      }
    } finally {
      watching?.stop();
      stream?.destroy();
      stream = undefined;
      endInputSide();
    }
  }

  /** EHOSTDOWN with a status is the end that the origin knows of; anything else is a failure. */
  const ending = async (failure: Failure): Promise<AttachEvent> => {
    if (failure.errno === 'EHOSTDOWN') {
      const found = await calls.where(pid, { signal: closing.signal });
      if (found.ok && found.value.entry.exit)
        return { type: 'exit', status: found.value.entry.exit };
    }
    return { type: 'failed', failure };
  };

  const whenRoom = async (ready: () => boolean): Promise<Reply<undefined, 'EPIPE'>> => {
    while (!ready() && !inputDone) await new Promise<void>((done) => waiters.push(done));
    return inputDone && !ready() ? fail('EPIPE', `${pid} takes no more input`) : ok();
  };

  return {
    events,
    write: async (bytes) => {
      if (inputDone) return fail('EPIPE', `${pid} takes no more input`);
      queue.push(bytes);
      pump();
      return whenRoom(() => !queue.isFull);
    },
    endInput: async () => {
      if (inputDone) return fail('EPIPE', `${pid} takes no more input`);
      queue.finish();
      pump();
      return whenRoom(() => queue.isIdle);
    },
    close: () => {
      closing.abort();
      stream?.destroy();
      endInputSide();
    },
  };
}

/**
 * A node that loses its power closes no connection: when the view no longer has this life of it, we do.
 */
function endWithNode(
  views: ViewSource,
  { node, before, stream }: { node: number; before: Reply<View, Errno>; stream: Stream },
): { stop(): void } {
  let life = before.ok ? findMember(before.value, node)?.incarnation : undefined;
  return views.watch((view) => {
    const member = findMember(view, node);
    life ??= member?.incarnation;
    if (member?.state !== 'UP' || (life && !sameIncarnation(life, member.incarnation)))
      stream.destroy();
  });
}

/** After these there is nothing to try again. */
const lastErrno = new Set<Errno>(['ESRCH', 'ENOENT', 'EBUSY', 'EHOSTDOWN', 'ENOSYS', 'EBADMSG']);

const endTaken = (pid: number, node: number): string =>
  `${pid} ended after we lost node ${node}, and another has taken its status already`;

const noStreams = (pid: number): Failure<'ENOENT'> =>
  fail('ENOENT', `${pid} has no streams here: it was not started by "ssi run", or is forgotten`);

/** Next message; undefined: the connection ended, whichever way. Unknown kinds are passed over. */
async function read(stream: Stream) {
  for (;;) {
    const bytes = await stream.read().catch(() => undefined);
    if (!bytes) return undefined;
    const parsed = attachFromServer.safeParse(unpack(bytes));
    if (parsed.success) return parsed.data;
  }
}

const outputs = (grant: Grant): { name: AttachOutputName; start: number; end: number }[] =>
  grant.streams.flatMap((s) =>
    s.name === 'in' ? [] : [{ name: s.name, start: s.startOffset, end: s.endOffset }],
  );

/** From 0, not from where the log begins: what is gone shows as a gap. */
const startOffsets = (grant: Grant, from: 'start' | 'end') =>
  Object.fromEntries(outputs(grant).map((o) => [o.name, from === 'start' ? 0 : o.end]));

const endOffsets = (grant: Grant): Map<AttachOutputName, number> =>
  new Map(outputs(grant).map((o) => [o.name, o.end]));

const allReached = (
  ends: ReadonlyMap<AttachOutputName, number>,
  at: Partial<Record<AttachOutputName, number>>,
): boolean => [...ends].every(([name, end]) => (at[name] ?? 0) >= end);
