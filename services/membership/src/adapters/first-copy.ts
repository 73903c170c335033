// First copy counts: each message comes by several ways, numbered by its sender.

/** Numbers remembered for each sender; 3 ways of 100 ms beats never lie this far apart. */
const windowMax = 1_024;

export class FirstCopy {
  private readonly senders = new Map<
    number,
    { channel: string; high: number; seen: Set<number> }
  >();

  /** Whether a copy of it was taken before. */
  has(from: number, channel: string, seq: number): boolean {
    const s = this.senders.get(from);
    return s?.channel === channel && s.seen.has(seq);
  }

  /** True for the first copy of `seq` on this channel (one start of one sender). */
  take(from: number, channel: string, seq: number): boolean {
    let s = this.senders.get(from);
    if (s?.channel !== channel) {
      s = { channel, high: 0, seen: new Set() };
      this.senders.set(from, s);
    }
    if (seq <= s.high - windowMax || s.seen.has(seq)) return false;
    s.seen.add(seq);
    if (seq > s.high) s.high = seq;
    if (s.seen.size > 2 * windowMax)
      for (const old of s.seen) if (old <= s.high - windowMax) s.seen.delete(old);
    return true;
  }
}
