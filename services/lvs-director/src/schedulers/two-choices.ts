// twos: of two servers drawn at random by weight, the one with fewer connections for its weight.
// [Mitzenmacher et al., The Power of Two Random Choices; net/netfilter/ipvs/ip_vs_twos.c]
import { type Candidate, takesNew } from '../candidate.ts';
import { leastFor, overhead } from './least.ts';
import { ofTheMoment, type Scheduler, type SchedulerOptions } from './scheduler.ts';

/** The first at which the sum of weights comes to `share` (0..total, both included). */
function drawn(candidates: readonly Candidate[], share: number): Candidate | undefined {
  let left = share;
  return candidates.find((c) => {
    left -= c.server.weight;
    return left <= 0;
  });
}

export function twoChoices({ random }: SchedulerOptions): Scheduler {
  return ofTheMoment((candidates) => {
    const able = candidates.filter(takesNew);
    const total = able.reduce((sum, c) => sum + c.server.weight, 0);
    const draw = () => drawn(able, Math.floor(random.float() * (total + 1)));
    return leastFor(
      [draw(), draw()].filter((c) => c !== undefined),
      overhead,
    );
  });
}
