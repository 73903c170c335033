// The sending side: numbers what this handle sends to each actor, and repeats it by that number until it
// is answered or its time is over. The number makes repeating safe: it counts once, whatever happened to
// the actor, its node's services or the answer on the way.
import {
  actor,
  type Errno,
  fail,
  type IcsErrno,
  type OriginEntry,
  ok,
  type Reply,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { withSpan } from '@ssi/telemetry';
import type { ClientLink } from '../link.ts';
import type { PidCalls } from '../pid-calls.ts';
import type { ViewSource } from '../view-source.ts';

/** Unanswered at one time to one actor; what is more waits here. */
const windowMax = 256;
/** Events that wait here for room in the window; past it EAGAIN. */
const queueMax = 100_000;
/** Actors whose numbers are remembered; the one unused longest goes first. */
const actorsMax = 10_000;
/** One try; then the actor is looked for anew and asked again by the same number. */
const attemptMs = 2_000;
const pauseMs = { first: 2, max: 200 };
const timeoutDefaultMs = 10_000;

export interface SendOptions {
  /** Longest time over all tries, ms. Default 10,000. */
  readonly timeoutMs?: number;
  readonly traceparent?: string;
}

type Deliver = Reply<
  { value?: unknown },
  (typeof actor)['ops']['deliver']['errnos'][number] | IcsErrno
>;
type Event = { readonly type: string };

/** One actor as this handle sends to it. */
class Line {
  readonly sender: string;
  node: number | undefined;
  nextSeq = 1;
  looking: Promise<Reply<OriginEntry, Errno>> | undefined;
  readonly outstanding = new Set<number>();
  readonly queue: (() => void)[] = [];
  refilling = false;

  constructor(sender: string) {
    this.sender = sender;
  }
  /** Insertion order is the order of numbers: the first is the lowest. */
  get lowWater(): number {
    for (const seq of this.outstanding) return seq;
    return this.nextSeq;
  }
}

export class Mail {
  private readonly link: ClientLink;
  private readonly calls: PidCalls;
  private readonly views: ViewSource;
  private readonly lines = new Map<number, Line>();
  private lineCount = 0;

  constructor(link: ClientLink, calls: PidCalls, views: ViewSource) {
    this.link = link;
    this.calls = calls;
    this.views = views;
  }

  /** Where an actor was just started. */
  learn(pid: number, node: number): void {
    this.line(pid).node = node;
  }

  deliver(kind: 'ask' | 'send', pid: number, event: Event, options: SendOptions): Promise<Deliver> {
    const line = this.line(pid);
    const endMs = this.link.clock.nowMs() + (options.timeoutMs ?? timeoutDefaultMs);
    const attributes = { 'ssi.pid': pid, 'ssi.event': event.type };
    const parent = options.traceparent ? { parent: options.traceparent } : {};
    // The window is entered synchronously: the order of calls is the order of numbers.
    const entered = this.enter(line);
    return withSpan(
      this.link.tracer,
      `ssi.${kind}`,
      { attributes, ...parent },
      async (traceparent) => {
        const seq = typeof entered === 'number' ? entered : await entered;
        if (seq === undefined) return fail('EAGAIN', `${queueMax} events wait for ${pid} already`);
        const reply = await this.repeat({ kind, pid, event, line, seq, endMs, traceparent });
        this.leave(line, seq);
        return reply;
      },
    );
  }

  private line(pid: number): Line {
    let line = this.lines.get(pid);
    if (!line) {
      line = new Line(`${this.link.ics.self.bootId}.${++this.lineCount}`);
      for (const [oldest, old] of this.lines) {
        if (this.lines.size < actorsMax) break;
        if (old.outstanding.size + old.queue.length === 0) this.lines.delete(oldest);
        else break;
      }
    } else this.lines.delete(pid);
    this.lines.set(pid, line);
    return line;
  }

  private enter(line: Line): number | Promise<number> | undefined {
    const take = (): number => {
      const seq = line.nextSeq++;
      line.outstanding.add(seq);
      return seq;
    };
    if (line.outstanding.size < windowMax && line.queue.length === 0) return take();
    if (line.queue.length >= queueMax) return undefined;
    return new Promise((done) => {
      line.queue.push(() => done(take()));
    });
  }
  private leave(line: Line, seq: number): void {
    line.outstanding.delete(seq);
    if (line.queue.length === 0 || line.refilling) return;
    line.refilling = true;
    // In a turn of its own: a sender that is never done must not keep timers from their turn.
    this.link.clock.after(0, () => {
      line.refilling = false;
      while (line.outstanding.size < windowMax && line.queue.length > 0) line.queue.shift()?.();
    });
  }

  private async repeat(q: {
    kind: 'ask' | 'send';
    pid: number;
    event: Event;
    line: Line;
    seq: number;
    endMs: number;
    traceparent: string | undefined;
  }): Promise<Deliver> {
    const { clock, ics } = this.link;
    const { kind, pid, event, line, seq } = q;
    const context = q.traceparent
      ? { context: { priority: 0 as const, traceparent: q.traceparent } }
      : {};
    let pause = pauseMs.first;
    let last: { errno: Errno; detail: string } = { errno: 'ETIMEDOUT', detail: 'no time was left' };
    for (;;) {
      const leftMs = q.endMs - clock.nowMs();
      if (leftMs <= 0) return timedOut(pid, last);
      const to = line.node ?? (await this.locate(line, pid, leftMs));
      if (typeof to !== 'number') {
        if (to.errno === 'ESRCH' || to.errno === 'EHOSTDOWN') return to as Deliver;
        last = to;
      } else {
        const reply = await ics.call(
          actor,
          'deliver',
          to,
          { pid, sender: line.sender, seq, lowWater: line.lowWater, kind, event },
          { timeoutMs: Math.min(leftMs, attemptMs), ...context },
        );
        if (reply.ok || final.has(reply.errno)) return reply;
        last = reply;
        if (reply.errno === 'EREMCHG' && reply.node !== undefined && reply.node !== to) {
          line.node = reply.node;
          // A new place: what happened at the old one says nothing about it.
          pause = pauseMs.first;
          continue;
        }
        if (reply.errno !== 'EAGAIN' && line.node === to) line.node = undefined;
        if (stale.has(reply.errno)) await this.views.refresh();
      }
      await sleep(clock, Math.min(pause, Math.max(1, q.endMs - clock.nowMs())));
      pause = Math.min(pause * 2, pauseMs.max);
    }
  }

  /** Where its origin has it; one question for all who wait. */
  private async locate(
    line: Line,
    pid: number,
    leftMs: number,
  ): Promise<number | { ok: false; errno: Errno; detail: string }> {
    line.looking ??= this.calls
      .where(pid, { deadlineMs: Math.min(leftMs, attemptMs) })
      .then((reply) => {
        line.looking = undefined;
        return reply.ok ? ok(reply.value.entry) : (reply as Reply<never, Errno>);
      });
    const found = await line.looking;
    if (!found.ok) return found;
    const { phase, node, exit } = found.value;
    if (phase === 'exited')
      return exit?.reason === 'EHOSTDOWN'
        ? fail('EHOSTDOWN', `${pid} ended with node ${node}`)
        : fail('ESRCH', `${pid} has ended`);
    line.node = node;
    return node;
  }
}

/** Answers for good: the event was taken (or never will be). */
const final: ReadonlySet<Errno> = new Set([
  'ENOSYS',
  'EBADMSG',
  'EMSGSIZE',
  'EPROTONOSUPPORT',
  'ECANCELED',
]);
/** The view may be an old one. */
const stale: ReadonlySet<Errno> = new Set(['ESTALE', 'EHOSTDOWN', 'EHOSTUNREACH', 'ETIMEDOUT']);

const timedOut = (pid: number, last: { errno: Errno; detail: string }) =>
  fail(
    'ETIMEDOUT',
    `${pid} did not answer in time, it may have run (${last.errno}: ${last.detail})`,
  );
