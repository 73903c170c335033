// Which node has the least to do: runnable processes per CPU, then processes per CPU, then the lowest
// number, so that everyone who asks at one moment gets one answer. [OpenSSI: fast, onnode by load]
import { type ProcessInfo, upMembers, type View } from '@ssi/contracts';

/** A process that only sleeps weighs this much of one that runs. */
const sleeperWeight = 1 / 64;

/** undefined: no UP node told its processes (and, with `native`, runs native programs). */
export function leastLoaded(
  view: View,
  lists: ReadonlyMap<number, readonly ProcessInfo[]>,
  options: { native: boolean },
): number | undefined {
  let best: { num: number; load: number } | undefined;
  for (const { num, facts } of upMembers(view)) {
    const processes = lists.get(num);
    if (!processes || (options.native && !facts.native)) continue;
    const running = processes.filter((p) => p.state === 'running' || p.state === 'disk').length;
    const load = (running + (processes.length - running) * sleeperWeight) / facts.cpus;
    if (!best || load < best.load) best = { num, load };
  }
  return best?.num;
}
