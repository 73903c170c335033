// Asking again: with growing pauses, until there is an answer or nobody wants it any more.
import { type Clock, sleep } from '@ssi/ports';

export interface Patience {
  readonly firstMs: number;
  readonly maxMs: number;
}

/**
 * Calls `attempt` until it gives something; undefined: `wanted` said no before that. The pause doubles
 * from `firstMs` to `maxMs`.
 */
export async function untilAnswered<T>(
  clock: Clock,
  patience: Patience,
  wanted: () => boolean,
  attempt: (tries: number) => Promise<T | undefined>,
): Promise<T | undefined> {
  let pauseMs = patience.firstMs;
  for (let tries = 1; wanted(); tries++) {
    const answer = await attempt(tries);
    if (answer !== undefined) return answer;
    if (!wanted()) return undefined;
    await sleep(clock, pauseMs);
    pauseMs = Math.min(patience.maxMs, pauseMs * 2);
  }
  return undefined;
}
