// Silence of the others, as a monitor that knows it may be slow itself. Time in which the monitor did
// not run is nobody's silence, and a monitor that was late lately waits longer before it accuses.
// [Lifeguard: local health multiplier; SWIM]
import type { Timing } from './timing.ts';

export interface Detector {
  /** When the monitor last looked. */
  readonly lookedMs: number;
  /** 0 is healthy; each late look adds one, each second in time takes one away. At most healthMax. */
  readonly health: number;
  readonly healthChangedMs: number;
  /** Silence of each node so far, ms, in which this monitor was awake. Its owner's alone: changed in place. */
  readonly silentMs: Map<number, number>;
}

/** Worst local health: accusations wait (1 + 8/4) times as long. */
const healthMax = 8;

export const newDetector = (nowMs: number): Detector => ({
  lookedMs: nowMs,
  health: 0,
  healthChangedMs: nowMs,
  silentMs: new Map(),
});

export function watching(d: Detector, nums: readonly number[]): Detector {
  if (nums.length === d.silentMs.size && nums.every((n) => d.silentMs.has(n))) return d;
  return { ...d, silentMs: new Map(nums.map((n) => [n, d.silentMs.get(n) ?? 0])) };
}

export function heard(d: Detector, num: number): Detector {
  if (d.silentMs.has(num)) d.silentMs.set(num, 0);
  return d;
}

/** The monitor looks. A gap of more than a heartbeat was its own sleep and counts as one tick. */
export function look(d: Detector, nowMs: number, timing: Timing): Detector {
  const gap = nowMs - d.lookedMs;
  const late = gap > timing.beatMs;
  const awake = late ? timing.tickMs : gap;
  const { silentMs } = d;
  for (const [num, ms] of silentMs) silentMs.set(num, ms + awake);
  if (late)
    return {
      lookedMs: nowMs,
      health: Math.min(healthMax, d.health + 1),
      healthChangedMs: nowMs,
      silentMs,
    };
  if (d.health > 0 && nowMs - d.healthChangedMs >= 1_000)
    return { lookedMs: nowMs, health: d.health - 1, healthChangedMs: nowMs, silentMs };
  return { ...d, lookedMs: nowMs, silentMs };
}

/** Silence after which a node is accused: V, longer with bad local health. */
export const suspectAfterMs = (d: Detector, timing: Timing): number =>
  timing.verdictMs * (1 + d.health / 4);

export const suspects = (d: Detector, timing: Timing): number[] =>
  [...d.silentMs]
    .filter(([, ms]) => ms >= suspectAfterMs(d, timing))
    .map(([num]) => num)
    .sort((a, b) => a - b);
