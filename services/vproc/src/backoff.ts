// Asking again: with growing pauses, until there is an answer or nobody wants it any more.
import type { Reply } from '@ssi/contracts';
import { type Clock, type Log, sleep } from '@ssi/ports';

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

const insistMs = { firstMs: 10, maxMs: 500 };

/** Repeats a step of a move until it succeeds. False: not before the service stops. */
export async function insist(
  node: { readonly stopped: boolean; readonly deps: { readonly clock: Clock } },
  step: () => Promise<Reply<unknown>>,
): Promise<boolean> {
  const wanted = (): boolean => !node.stopped;
  const done = await untilAnswered(node.deps.clock, insistMs, wanted, async () =>
    (await step()).ok ? true : undefined,
  );
  return done === true;
}

const doneMs = { firstMs: 50, maxMs: 1_000 };

/**
 * What the machine must do in the end, however often it refuses: read what is on record (who went on
 * without it would take what was there for nothing), remove what nobody would look for again. Never
 * resolves where the service stops before.
 */
export async function untilDone<T>(
  node: { readonly stopped: boolean; readonly deps: { readonly clock: Clock; readonly log: Log } },
  what: string,
  attempt: () => Promise<Reply<T>>,
): Promise<T> {
  const { clock, log } = node.deps;
  const found = await untilAnswered(
    clock,
    doneMs,
    () => !node.stopped,
    async () => {
      const reply = await attempt();
      if (reply.ok) return reply;
      log.error('asked again until it is done', {
        ...{ what, errno: reply.errno, detail: reply.detail },
      });
      return undefined;
    },
  );
  return found ? found.value : new Promise(() => {});
}
