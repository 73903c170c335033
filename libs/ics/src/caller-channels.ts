// The channels of those who call, with what is kept of each: calls that came too early, and replies until
// the caller is done with them. Forgets a channel when its caller is gone.
import type { CallFrame, View } from '@ssi/contracts';
import type { Clock, Timer } from '@ssi/ports';
import type { Guests } from './guests.ts';
import { Numbered } from './numbered.ts';
import type { CallerChannel, Entry } from './serving.ts';
import { isGone } from './standing.ts';
import type { Via } from './transport.ts';

/** Early frames kept for each channel; the caller sends the rest again. */
const heldMax = 1_024;
/** Replies kept for all callers together; past it new calls get EAGAIN. 65,536 at about 1 KiB is 64 MiB. */
const repliesMax = 65_536;
const replyBytesMax = 64 * 1024 * 1024;
/** A client that was silent this long is gone; so is a finished channel of a member. */
const silentMax = 600_000;
const sweepMs = 5_000;
/** A call runs this much longer than its deadline before it is aborted: its caller's cancel is on the way. */
const abortSlackMs = 5_000;

export interface CallerChannelsDeps {
  readonly clock: Clock;
  readonly guests: Guests;
}

export class CallerChannels {
  readonly #d: CallerChannelsDeps;
  readonly #channels = new Map<string, CallerChannel>();
  #sweeper: Timer | undefined;
  #replies = 0;
  #replyBytes = 0;

  constructor(deps: CallerChannelsDeps) {
    this.#d = deps;
  }

  /** Of calls that were let in, answered or not yet. */
  get replies(): number {
    return this.#replies;
  }

  get full(): boolean {
    return this.#replies >= repliesMax || this.#replyBytes >= replyBytesMax;
  }

  /** undefined: the caller has too many. */
  of(f: CallFrame): CallerChannel | undefined {
    // A boot id alone is not vouched for.
    const key = `${f.from.node}-${f.from.service}/${f.from.bootId}/${f.channel}`;
    let channel = this.#channels.get(key);
    if (!channel) {
      if (!this.#d.guests.mayOpenChannel(f.from)) return undefined;
      this.#d.guests.channels(f.from, 1);
      channel = {
        key,
        from: f.from,
        contract: f.contract,
        priority: f.priority,
        next: Math.max(1, f.lowWater),
        lowWater: Math.max(1, f.lowWater),
        held: new Map(),
        entries: new Numbered(),
        heardMs: 0,
      };
      this.#channels.set(key, channel);
      this.#sweeper ??= this.#d.clock.after(sweepMs, () => this.#sweep());
    }
    channel.heardMs = this.#d.clock.nowMs();
    if (f.from.incarnation) channel.from = f.from;
    return channel;
  }

  /** Keeps a frame that came too early, if there is room. */
  hold(channel: CallerChannel, f: CallFrame, via: Via): void {
    const { length } = f.body;
    const room = channel.held.size < heldMax && this.#d.guests.mayWait(f.from, length);
    if (!room || channel.held.has(f.seq)) return;
    this.#d.guests.waiting(f.from, length);
    channel.held.set(f.seq, { frame: f, via });
  }

  unhold(channel: CallerChannel, seq: number): void {
    const early = channel.held.get(seq);
    if (early && channel.held.delete(seq))
      this.#d.guests.waiting(channel.from, -early.frame.body.length);
  }

  keep(entry: Entry): void {
    const { channel, frame } = entry;
    channel.entries.add(frame.seq, entry);
    this.#replies++;
    this.#d.guests.calls(frame.from, 1);
  }

  /** An entry that is kept has its reply now. */
  answered(sizeBytes: number): void {
    this.#replyBytes += sizeBytes;
  }

  forget(channel: CallerChannel, seq: number, entry: Entry): void {
    channel.entries.delete(seq);
    this.#replies--;
    this.#d.guests.calls(channel.from, -1);
    this.#replyBytes -= entry.result?.length ?? 0;
    if (entry.state === 'done') return;
    entry.dropped = true;
    entry.abort?.abort();
  }

  /** Members whose life is over by this view are done with all of theirs. */
  setView(view: View, selfNode: number): void {
    for (const channel of [...this.#channels.values()]) {
      const { from } = channel;
      if (from.node === 0 || from.node === selfNode) continue;
      if (isGone(view, from.node, from.incarnation)) this.#forgetChannel(channel);
    }
  }

  close(): void {
    this.#sweeper?.cancel();
    for (const channel of [...this.#channels.values()]) this.#forgetChannel(channel);
  }

  #forgetChannel(channel: CallerChannel): void {
    for (const [seq, entry] of channel.entries) this.forget(channel, seq, entry);
    for (const seq of [...channel.held.keys()]) this.unhold(channel, seq);
    if (this.#channels.delete(channel.key)) this.#d.guests.channels(channel.from, -1);
  }

  #sweep(): void {
    const now = this.#d.clock.nowMs();
    for (const channel of [...this.#channels.values()]) {
      for (const entry of channel.entries.values())
        if (entry.state === 'running' && now > entry.deadlineMs + abortSlackMs)
          entry.abort?.abort();
      const client = channel.from.node === 0;
      if (now - channel.heardMs > silentMax && (client || channel.entries.size === 0))
        this.#forgetChannel(channel);
    }
    this.#sweeper =
      this.#channels.size > 0 ? this.#d.clock.after(sweepMs, () => this.#sweep()) : undefined;
  }
}
