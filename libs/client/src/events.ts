// Membership transitions as they happen. What membership announces on the bus is only a hint to look:
// the transitions themselves are asked for by number, so none is missed or told twice, whatever the
// bus loses. [OpenSSI: cluster_detailedtransition(3)]
import { clms, type ReplyOf, upMembers } from '@ssi/contracts';
import type { ClientLink } from './link.ts';
import type { ViewSource } from './view-source.ts';

export type ClusterEvent = ReplyOf<typeof clms.ops.history>['events'][number];

/** Without a hint it looks this often, ms. */
const lookMs = 1_000;

export async function* followEvents(
  link: Pick<ClientLink, 'ics' | 'clock' | 'onEvent'>,
  views: ViewSource,
  options: { from?: 'start' | 'now'; signal?: AbortSignal } = {},
): AsyncGenerator<ClusterEvent> {
  const { signal } = options;
  let hinted = false;
  let wake = (): void => {};
  const hints = link.onEvent(() => {
    hinted = true;
    wake();
  });
  const stop = (): void => wake();
  signal?.addEventListener('abort', stop);
  const told = new Set<string>();
  let since = 0;
  if (options.from === 'now') {
    const view = await views.refresh();
    if (view.ok) since = view.value.transid;
  }
  try {
    while (!signal?.aborted) {
      hinted = false;
      const view = await views.refresh();
      const nums = view.ok ? upMembers(view.value).map((m) => m.num) : [];
      for (const num of nums) {
        const reply = await link.ics.call(clms, 'history', num, { since }, { timeoutMs: 2_000 });
        if (!reply.ok) continue; // the next node knows as well
        for (const event of reply.value.events) {
          // `since` may or may not include that transition, and one may change several nodes.
          const key = `${event.transid} ${event.num} ${event.to} ${event.detail}`;
          if (event.transid < since || told.has(key)) continue;
          if (options.from === 'now' && event.transid === since && told.size === 0) continue;
          told.add(key);
          since = Math.max(since, event.transid);
          yield event;
        }
        break;
      }
      for (const key of told) if (Number.parseInt(key, 10) < since) told.delete(key);
      if (hinted || signal?.aborted) continue;
      await new Promise<void>((done) => {
        const timer = link.clock.after(lookMs, done);
        wake = () => {
          timer.cancel();
          done();
        };
      });
    }
  } finally {
    hints.stop();
    signal?.removeEventListener('abort', stop);
  }
}
