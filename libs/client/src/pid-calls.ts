// Calls about a pid: to its origin, or to the node it executes on, following EREMCHG and views as they
// change, repeated as long as that is safe and time is left.
import {
  type Errno,
  fail,
  type IcsErrno,
  type Op,
  type OriginEntry,
  originOf,
  type Reply,
  type RequestOf,
  vproc,
} from '@ssi/contracts';
import { type CallReply, sleep } from '@ssi/ports';
import type { ClientLink } from './link.ts';
import type { ViewSource } from './view-source.ts';

type Ops = typeof vproc.ops;
export type VprocOp = keyof Ops & string;
export type OpReply<K extends VprocOp> = CallReply<Ops[K]> | NoSuchPid;
type NoSuchPid = Reply<never, 'ESRCH' | IcsErrno>;

export interface PidCallOptions {
  /** Longest time over all tries, ms. Default 15,000: longer than a nodedown takes. */
  readonly deadlineMs?: number;
  /** Running it twice does no harm: repeat it also where it may have run (ETIMEDOUT, EHOSTDOWN). */
  readonly safe: boolean;
  /** EAGAIN is an answer for the caller (`wait` with noHang), not a reason to try again. */
  readonly againIsAnswer?: boolean;
  readonly traceparent?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

const deadlineDefaultMs = 15_000;
/** A process that moves while it is asked for is followed this often. */
const followMax = 8;
const pauseMs = { first: 25, max: 500 };
/** One try of an operation whose contract names no time of its own. */
const callDefaultMs = 5_000;

export interface PidCalls {
  atOrigin<K extends VprocOp>(
    op: K,
    pid: number,
    request: RequestOf<Ops[K]>,
    options: PidCallOptions,
  ): Promise<OpReply<K>>;
  /** Asks the origin where the process executes first; an exited one is asked for where it ended. */
  atExecution<K extends VprocOp>(
    op: K,
    pid: number,
    request: RequestOf<Ops[K]>,
    options: PidCallOptions,
  ): Promise<OpReply<K>>;
  where(pid: number, options?: Partial<PidCallOptions>): Promise<OpReply<'where'>>;
}

type Target = Reply<number, Errno>;

export function pidCalls(link: ClientLink, views: ViewSource): PidCalls {
  const repeat = async <K extends VprocOp>(
    op: K,
    request: RequestOf<Ops[K]>,
    options: PidCallOptions,
    target: () => Promise<Target>,
  ): Promise<OpReply<K>> => {
    const { clock, ics } = link;
    const endMs = clock.nowMs() + (options.deadlineMs ?? deadlineDefaultMs);
    let follow: number | undefined;
    let followed = 0;
    let pause = pauseMs.first;
    for (;;) {
      const to: Target = follow === undefined ? await target() : { ok: true, value: follow };
      if (!to.ok) return to as OpReply<K>;
      const leftMs = endMs - clock.nowMs();
      const { longPoll, timeoutMs = callDefaultMs }: Op = vproc.ops[op];
      const watching = views.watch();
      const reply = await ics.call(vproc, op, to.value, request, {
        timeoutMs: Math.max(1, longPoll ? leftMs : Math.min(leftMs, timeoutMs)),
        ...(options.traceparent && {
          context: { priority: 0, traceparent: options.traceparent },
        }),
        ...(options.signal && { signal: options.signal }),
      });
      watching.stop();
      if (reply.ok) return reply;
      const { errno } = reply;
      if (options.signal?.aborted) return reply;
      if (errno === 'EREMCHG' && followed++ < followMax) {
        follow = reply.node === to.value ? undefined : reply.node;
        if (follow !== undefined) continue;
      } else if (errno === 'EAGAIN' ? options.againIsAnswer : !mayRepeat(errno, options.safe)) {
        return reply;
      } else {
        follow = undefined;
      }
      if (clock.nowMs() + pause >= endMs) return reply;
      if (errno !== 'EAGAIN') await views.refresh();
      await sleep(clock, pause);
      pause = Math.min(pause * 2, pauseMs.max);
    }
  };

  const originTarget = (pid: number) => async (): Promise<Target> => {
    const view = await views.current();
    if (!view.ok) return view;
    const origin = originOf(view.value, pid);
    return origin === undefined
      ? fail('ESRCH', `no such process: ${pid} is from no node's range`)
      : { ok: true, value: origin };
  };

  const calls: PidCalls = {
    atOrigin: (op, pid, request, options) => repeat(op, request, options, originTarget(pid)),
    where: (pid, options) => calls.atOrigin('where', pid, { pid }, { safe: true, ...options }),
    atExecution: (op, pid, request, options) =>
      repeat(op, request, options, async () => {
        const found = await calls.where(pid, {
          ...(options.deadlineMs !== undefined && { deadlineMs: options.deadlineMs }),
          traceparent: options.traceparent,
          signal: options.signal,
        });
        return found.ok ? { ok: true, value: found.value.entry.node } : found;
      }),
  };
  return calls;
}

/** EHOSTUNREACH and ESTALE: it did not run. ETIMEDOUT, EHOSTDOWN: it may have. */
const mayRepeat = (errno: Errno, safe: boolean): boolean =>
  errno === 'EHOSTUNREACH' ||
  errno === 'ESTALE' ||
  (safe && (errno === 'ETIMEDOUT' || errno === 'EHOSTDOWN'));

export const isGone = (entry: OriginEntry): boolean => entry.phase === 'exited';
