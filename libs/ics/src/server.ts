// The serving half of ICS: lets the calls of a channel in by number, each once; queues and runs them by
// lane; keeps each reply (caller-channels.ts) until the caller's low-water mark passes it. Refuses what
// was meant for another life of this server, and who has no standing in the view.

import type { Tracer } from '@opentelemetry/api';
import {
  type CallFrame,
  type Contract,
  fail,
  frameKind,
  type IcsErrno,
  mayCall,
  type Reply,
  type Source,
  type View,
} from '@ssi/contracts';
import type { Clock, Log, ServeOptions } from '@ssi/ports';
import { CallerChannels } from './caller-channels.ts';
import { emptyBody } from './frame.ts';
import { Guests } from './guests.ts';
import { Runner } from './runner.ts';
import {
  type CallerChannel,
  type Entry,
  type Handler,
  longPollMax,
  type Served,
  served,
} from './serving.ts';
import { standing } from './standing.ts';
import type { Transport, Via } from './transport.ts';
import { encodeVersions, type VersionSpan } from './version.ts';
import { Voice } from './voice.ts';

export interface ServerDeps {
  readonly self: { readonly node: number; readonly service: string; readonly bootId: string };
  readonly clock: Clock;
  readonly log: Log;
  readonly transports: readonly Transport[];
  readonly tracer: Tracer;
  readonly source: () => Source;
  readonly transid: () => number;
  readonly view: () => View | undefined;
}

export class Server {
  readonly #d: ServerDeps;
  /** By name; a contract that changed is served in several versions side by side. */
  readonly #served = new Map<string, readonly Served[]>();
  readonly #channels: CallerChannels;
  #closed = false;
  readonly #voice: Voice;
  readonly #runner: Runner;
  #duplicates = 0;
  #refused = 0;
  #throttled = 0;
  #denied = 0;
  readonly #guests = new Guests();

  constructor(deps: ServerDeps) {
    this.#d = deps;
    this.#channels = new CallerChannels({ clock: deps.clock, guests: this.#guests });
    this.#voice = new Voice(deps);
    this.#runner = new Runner({
      ...deps,
      node: deps.self.node,
      voice: this.#voice,
      onKept: (bytes) => this.#channels.answered(bytes),
    });
  }

  counters(): Record<string, number> {
    let inWork = 0;
    for (const s of [...this.#served.values()].flat())
      for (const lane of s.lanes) inWork += lane.inWork + lane.queue.length;
    return {
      served: this.#runner.started,
      duplicates: this.#duplicates,
      refused: this.#refused,
      throttled: this.#throttled,
      denied: this.#denied,
      malformed: this.#runner.malformed,
      flooded: this.#guests.flooded,
      replies: this.#channels.replies,
      inWork,
    };
  }

  serve(
    contract: Contract,
    handlers: Readonly<Record<string, Handler | undefined>>,
    options: ServeOptions,
  ): void {
    const others = this.#versions(contract.name).filter(
      (s) => s.contract.version !== contract.version,
    );
    this.#served.set(contract.name, [...others, served(contract, handlers, options)]);
  }

  #versions(contract: string): readonly Served[] {
    return this.#served.get(contract) ?? [];
  }

  /** Whether a frame of theirs is looked at now. */
  mayEnter(who: { readonly node: number; readonly service?: string | undefined }): boolean {
    return this.#guests.mayEnter(who, this.#d.clock.nowMs());
  }

  frame(f: CallFrame, via: Via): void {
    if (this.#closed) return;
    const versions = this.#versions(f.contract);
    if (f.to !== this.#d.self.node || versions.length === 0) {
      this.#refuse(f, via, 'EHOSTUNREACH', `not served here: ${f.contract}`);
      return;
    }
    if (f.kind !== frameKind.hello && f.toBootId !== this.#d.self.bootId) {
      this.#refuse(f, via, 'ESTALE', 'meant for another life of this server');
      return;
    }
    const rank = standing({
      from: f.from,
      contract: f.contract,
      transid: f.transid,
      view: this.#d.view(),
      selfNode: this.#d.self.node,
    });
    if (rank === 'wait') return;
    if (rank === 'stale') {
      const text = `node ${f.from.node} is no member in this incarnation`;
      this.#refuse(f, via, 'ESTALE', text);
      return;
    }
    if (f.kind === frameKind.hello) {
      this.#voice.say(frameKind.welcome, f, via, encodeVersions(spans(versions)), 0);
      return;
    }
    const channel = this.#channels.of(f);
    if (!channel) return;
    if (f.lowWater > channel.lowWater) this.#raise(channel, f.lowWater);
    if (f.finished.length > 0) this.#finished(channel, f.finished);
    if (f.kind === frameKind.ack || f.seq < 1) return;
    if (f.seq < channel.lowWater) return;
    if (f.seq < channel.next) {
      this.#again(channel, f, via);
      return;
    }
    if (f.seq > channel.next) {
      this.#channels.hold(channel, f, via);
      return;
    }
    if (this.#admit(channel, f, via)) this.#drain(channel);
  }

  setView(view: View): void {
    this.#channels.setView(view, this.#d.self.node);
  }

  close(): void {
    this.#closed = true;
    this.#channels.close();
  }

  /** The caller is done with everything below `mark`: replies are forgotten, gaps are skipped. */
  #raise(channel: CallerChannel, mark: number): void {
    for (const [seq, entry] of channel.entries) {
      if (seq >= mark) break;
      this.#channels.forget(channel, seq, entry);
    }
    channel.lowWater = mark;
    if (channel.next >= mark) return;
    channel.next = mark;
    for (const seq of [...channel.held.keys()]) if (seq < mark) this.#channels.unhold(channel, seq);
    this.#drain(channel);
  }

  /** Replies the caller has, above its low-water mark. What is looked at is open or forgotten here. */
  #finished(channel: CallerChannel, pairs: readonly number[]): void {
    // A channel that was forgotten here and taken up again skips them.
    for (let i = 0; i + 1 < pairs.length; i += 2) {
      const [from, to] = [pairs[i] ?? 0, pairs[i + 1] ?? 0];
      if (from > channel.next || channel.next >= to) continue;
      channel.next = to;
      this.#drain(channel);
    }
    const end = pairs.at(-1) ?? 0;
    let at = 0;
    for (const [seq, entry] of channel.entries) {
      if (seq >= end) return;
      while (seq >= (pairs[at + 1] ?? end)) at += 2;
      if (seq >= (pairs[at] ?? end)) this.#channels.forget(channel, seq, entry);
    }
  }

  #drain(channel: CallerChannel): void {
    for (;;) {
      const early = channel.held.get(channel.next);
      if (!early) return;
      this.#channels.unhold(channel, channel.next);
      if (!this.#admit(channel, early.frame, early.via)) return;
    }
  }

  /** Uses up the call's number. False: not now (a message that finds no room is sent again). */
  #admit(channel: CallerChannel, f: CallFrame, via: Via): boolean {
    if (f.kind === frameKind.cancel) {
      channel.next++;
      this.#voice.answer(f, via, fail('ECANCELED', 'withdrawn before it arrived'));
      return true;
    }
    const versions = this.#versions(channel.contract);
    const served = versions.find((s) => s.contract.version === f.version);
    if (!served) {
      channel.next++;
      this.#voice.answer(f, via, unserved(versions, f, this.#d.self.node));
      return true;
    }
    const definition = served.contract.ops[f.op];
    const lane = served.lanes[f.priority as 0 | 1 | 2 | 3];
    const full =
      !this.#guests.mayCall(f.from) ||
      this.#channels.full ||
      lane.queue.length >= served.queueMax ||
      (definition?.longPoll === true && served.longPolls >= longPollMax);
    if (full) {
      this.#throttled++;
      if (definition?.kind === 'message') return false;
      channel.next++;
      this.#voice.answer(f, via, throttled);
      return true;
    }
    channel.next++;
    const { node } = this.#d.self;
    const allowed = !definition || mayCall(definition.callers, f.from, node);
    if (!allowed) this.#denied++;
    if (!definition || !allowed) {
      this.#voice.answer(f, via, unserved(versions, f, node));
      return true;
    }
    const now = this.#d.clock.nowMs();
    const entry: Entry = {
      channel,
      served,
      definition,
      frame: f,
      via,
      arrivedMs: now,
      deadlineMs: now + f.timeoutMs,
      state: 'queued',
      dropped: false,
      abort: undefined,
      span: undefined,
      result: undefined,
    };
    this.#channels.keep(entry);
    this.#runner.enter(entry);
    // Its caller need not ask soon whether it arrived.
    if (definition.longPoll && !entry.result)
      this.#voice.say(frameKind.progress, f, via, emptyBody, 0);
    return true;
  }

  /** A frame of a call that was let in before, or its cancel. */
  #again(channel: CallerChannel, f: CallFrame, via: Via): void {
    this.#duplicates++;
    const entry = channel.entries.get(f.seq);
    if (f.kind === frameKind.cancel) {
      if (entry && entry.state !== 'done') {
        entry.dropped = true;
        entry.abort?.abort();
      }
      this.#voice.answer(f, via, fail('ECANCELED', 'withdrawn'));
      return;
    }
    // Let in without an entry: it was refused for good, and is so again.
    if (!entry) {
      const versions = this.#versions(channel.contract);
      this.#voice.answer(f, via, unserved(versions, f, this.#d.self.node));
      return;
    }
    entry.frame = f;
    entry.via = via;
    entry.arrivedMs = this.#d.clock.nowMs();
    if (entry.result) this.#voice.say(frameKind.reply, f, via, entry.result, 0);
    else this.#voice.say(frameKind.progress, f, via, emptyBody, 0);
  }

  #refuse(f: CallFrame, via: Via, errno: IcsErrno, detail: string): void {
    this.#refused++;
    this.#voice.refuse(f, via, errno, detail);
  }
}

const throttled = fail('EAGAIN', 'this service has too much in work; try again a little later');

/** Why a number was used up without an entry: no such version or operation, not for this caller, or no room then. */
function unserved(versions: readonly Served[], f: CallFrame, node: number): Reply<unknown> {
  const contract = versions.find((s) => s.contract.version === f.version)?.contract;
  const known = versions.map((s) => `v${s.contract.version}`).join(' ');
  if (!contract) return fail('EPROTONOSUPPORT', `${f.contract} is served as ${known}`);
  if (!contract.ops[f.op]) return fail('ENOSYS', `${contract.name} has no ${f.op}`);
  if (!mayCall(contract.ops[f.op]?.callers, f.from, node))
    return fail('EPERM', `${contract.name}.${f.op} is not for ${f.from.node}-${f.from.service}`);
  return throttled;
}

const spans = (versions: readonly Served[]): VersionSpan => {
  const numbers = versions.map((s) => s.contract.version);
  return [Math.min(...numbers), Math.max(...numbers)];
};
