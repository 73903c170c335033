// The end of a process, as its origin's vproc tells it, wherever it ran by then.
import { fail, originOf, type Reply, rangeOf, type View, vproc } from '@ssi/contracts';
import { type Clock, type Ics, sleep } from '@ssi/ports';

const retryMs = 200;

/**
 * `ended`; `unknown`: no process of the cluster, or its origin has not seen it yet; `unwanted`: `isWanted` said no
 * first. Waits as long as nobody can tell.
 */
export async function processEnd(
  q: {
    readonly ics: Ics;
    readonly clock: Clock;
    readonly view: () => View | undefined;
    readonly isWanted: () => boolean;
  },
  pid: number,
): Promise<'ended' | 'unknown' | 'unwanted'> {
  for (let known = false; q.isWanted(); ) {
    const view = q.view();
    if (view && rangeOf(pid, view.pidBits) < 1) return 'unknown';
    const origin = view && originOf(view, pid);
    const reply: Reply<unknown> =
      origin === undefined
        ? fail('EHOSTUNREACH', 'nobody is its origin now')
        : await (known
            ? q.ics.call(vproc, 'wait', origin, { pid, reap: false })
            : q.ics.call(vproc, 'where', origin, { pid }));
    const isUnknown = !reply.ok && reply.errno === 'ESRCH';
    if (known && (reply.ok || isUnknown || reply.errno === 'ECHILD')) return 'ended';
    if (isUnknown) return 'unknown';
    known ||= reply.ok;
    if (!reply.ok) await sleep(q.clock, retryMs);
  }
  return 'unwanted';
}
