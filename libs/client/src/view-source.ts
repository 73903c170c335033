// The newest view a client has seen. A client is no member: nobody pushes views to it, so it asks, and
// asks again when an answer shows that its view is old.
import { clms, fail, type IcsErrno, ok, type Reply, upMembers, type View } from '@ssi/contracts';
import type { Timer } from '@ssi/ports';
import type { ClientLink } from './link.ts';

/** A view younger than this is not asked for again, ms: one heartbeat. */
const freshMs = 100;
/** An older one is asked for again before it is used, ms. */
const staleMs = 1_000;
/** While something is waited for the view is looked at this often, besides each hint of the bus. */
const watchMs = 1_000;
const answerMs = 2_000;
/** Nodes are looked for up to this number where no seed answers. */
const searchMax = 63;

export interface ViewSource {
  /** The cached view, unless it is older than a second. */
  current(): Promise<Reply<View, ViewErrno>>;
  /** Asks again, unless that was only just done. */
  refresh(): Promise<Reply<View, ViewErrno>>;
  /**
   * Looks again whenever the bus hints at a change, and every second, until stopped: a call or a
   * connection to a node that died without a word only ends because the view says so.
   */
  watch(onView?: (view: View) => void): { stop(): void };
}
export type ViewErrno = 'EHOSTUNREACH' | 'ETIMEDOUT' | 'EAGAIN';

interface Answer {
  readonly view: View;
  readonly leased: boolean;
}

export function viewSource(
  link: Pick<ClientLink, 'ics' | 'clock' | 'seeds' | 'onEvent'>,
): ViewSource {
  let known: { view: View; atMs: number } | undefined;
  let asking: Promise<Reply<View, ViewErrno>> | undefined;

  /** First answer of a node with a lease, else the newest of those without one. */
  const ask = async (nums: readonly number[]): Promise<Reply<View, ViewErrno>> => {
    const unleased: Answer[] = [];
    let errno: IcsErrno = 'EHOSTUNREACH';
    const leased = await Promise.any(
      nums.map(async (num) => {
        const reply = await link.ics.call(clms, 'members', num, {}, { timeoutMs: answerMs });
        if (!reply.ok) {
          if (reply.errno !== 'EHOSTUNREACH') errno = reply.errno;
          throw reply;
        }
        if (reply.value.leased) return reply.value.view;
        unleased.push(reply.value);
        throw reply;
      }),
    ).catch(() => undefined);
    const newest = unleased.sort((a, b) => b.view.transid - a.view.transid)[0];
    const view = leased ?? newest?.view;
    if (view) return ok(view);
    return errno === 'EHOSTUNREACH'
      ? fail('EHOSTUNREACH', 'no node of the cluster answers; see which run with: ssi doctor')
      : fail(errno === 'EAGAIN' ? 'EAGAIN' : 'ETIMEDOUT', 'membership did not answer in time');
  };

  const search = async (): Promise<Reply<View, ViewErrno>> => {
    const up = known ? upMembers(known.view).map((m) => m.num) : [];
    const first = [...new Set([...up, ...link.seeds])];
    const reply = first.length > 0 ? await ask(first) : undefined;
    if (reply?.ok) return reply;
    const rest = Array.from({ length: searchMax }, (_, i) => i + 1).filter(
      (num) => !first.includes(num),
    );
    const wider = await ask(rest);
    return wider.ok || !reply ? wider : reply;
  };

  const refresh = (): Promise<Reply<View, ViewErrno>> => {
    if (known && link.clock.nowMs() - known.atMs < freshMs) return Promise.resolve(ok(known.view));
    asking ??= search().then((reply) => {
      asking = undefined;
      if (!reply.ok) return reply;
      // An answer of a node that is behind must not take us back.
      const view = known && known.view.transid > reply.value.transid ? known.view : reply.value;
      known = { view, atMs: link.clock.nowMs() };
      link.ics.setView(view);
      return ok(view);
    });
    return asking;
  };

  const current = async (): Promise<Reply<View, ViewErrno>> => {
    if (known && link.clock.nowMs() - known.atMs <= staleMs) return ok(known.view);
    const reply = await refresh();
    // Nobody answers just now: the last one we know is the best there is.
    return !reply.ok && known ? ok(known.view) : reply;
  };

  const watch: ViewSource['watch'] = (onView) => {
    let timer: Timer | undefined;
    let stopped = false;
    const look = (): void => {
      timer?.cancel();
      void refresh().then((reply) => {
        if (stopped) return;
        if (reply.ok) onView?.(reply.value);
        timer?.cancel();
        timer = link.clock.after(watchMs, look);
      });
    };
    const hints = link.onEvent(look);
    timer = link.clock.after(watchMs, look);
    return {
      stop: () => {
        stopped = true;
        timer?.cancel();
        hints.stop();
      },
    };
  };

  return { refresh, current, watch };
}
