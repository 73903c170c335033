// The numbers of the protocol and the sums behind them. All are durations, ms, each measured on one
// machine's own CLOCK_BOOTTIME; clocks of two machines may run apart by `drift` and no more.
//
//   lease   L = 500   V >= L(1+drift) + freezeMax = 500*1.01 + 50 = 555
//   verdict V = 560   a slave's SIGKILL falls 0..100 ms after the master's last answer to it, so the view
//                     is committed 460..560 ms after it, + a tick (<= 20) + one write of the KV (~10)
//                     and its way to the members: p50 ~ 540, p99 ~ 600 on a machine with time to spare
//   promise P = 520   the master's SIGKILL falls 0..100 ms after its last heartbeat: promises run out
//                     420..520 ms after it, + a tick + the votes' round trip + freezeMax (its own node
//                     freezes) + one write (~10): the view comes ~ 600 ms after it
//   stand-still       of the others' programs when the master dies: leases end L after the last
//                     heartbeat, the next master answers P + the above (~ 90) after it: ~ 110 ms. A
//                     larger P only makes it longer; a smaller one would give the master less time
//                     than V gives a slave: silent for P + freezeMax = 570 it may be declared DOWN
//   mandate           P/(1+drift) = 514: the master may be starved for that long before it loses it,
//                     a slave for 400 ms (L less one beat) before its programs freeze
export interface Timing {
  /** Heartbeats go out this often. */
  readonly beatMs: number;
  /** How often deadlines are looked at. */
  readonly tickMs: number;
  /** L: a node's right to run, from the send time of its answered ping. */
  readonly leaseMs: number;
  /** V: silence after the master's last answer before a node may be committed DOWN. */
  readonly verdictMs: number;
  /** P: how long a voter follows no other term, from receipt of a heartbeat. */
  readonly promiseMs: number;
  /** The two fastest and slowest clocks differ by this part at most. */
  readonly drift: number;
  /** From a lapsed lease until every program is frozen, at most. */
  readonly freezeMaxMs: number;
  /** Candidates start this much apart, by rank among the voters. */
  readonly rankMs: number;
  /** A node that is no member stands only this much after the members would have. */
  readonly strangerMs: number;
  /** A master that alone lost the broker lets its voters go after this. */
  readonly releaseMs: number;
  /** How often the KV is looked at: is it there, has it forgotten. */
  readonly probeMs: number;
  /** A nodedown step may take this long. */
  readonly stepMs: number;
  /** A step that takes longer than this is shown in the view. */
  readonly stepShownMs: number;
}

export const timing: Timing = {
  beatMs: 100,
  tickMs: 20,
  leaseMs: 500,
  verdictMs: 560,
  promiseMs: 520,
  drift: 0.01,
  freezeMaxMs: 50,
  rankMs: 40,
  strangerMs: 500,
  releaseMs: 2_000,
  probeMs: 500,
  stepMs: 10_000,
  stepShownMs: 1_000,
};

/** How long the master's mandate lasts from the send time of the heartbeat a majority acknowledged. */
export const mandateMs = (t: Timing): number => t.promiseMs / (1 + t.drift);

/** The sums above, checked where a service starts: a wrong number is a split brain. */
export function timingFault(t: Timing): string | undefined {
  if (t.verdictMs < t.leaseMs * (1 + t.drift) + t.freezeMaxMs)
    return `verdictMs ${t.verdictMs} < leaseMs(1+drift)+freezeMaxMs`;
  if (t.leaseMs < 3 * t.beatMs) return 'leaseMs must outlast two lost heartbeats';
  if (mandateMs(t) < t.leaseMs) return 'promiseMs must outlast leaseMs';
  if (t.promiseMs + t.freezeMaxMs < t.verdictMs)
    return 'promiseMs gives a master less time than verdictMs a slave';
  return undefined;
}
