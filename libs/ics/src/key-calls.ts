// Calls to a key service, wherever the view says it is active. An answer that goes by an older view than
// one seen before is a former instance's: refused. [design: key services]
import {
  activeInstance,
  type Contract,
  fail,
  type IcsErrno,
  type Reply,
  type RequestOf,
  type View,
} from '@ssi/contracts';
import type { CallOptions, CallReply, Ics } from '@ssi/ports';

export interface KeyCalls {
  /**
   * As `Ics.call`, but for where to. EAGAIN: nobody is active now, it did not run; wait for a view. ESTALE: a
   * former instance answered, it may have run there.
   */
  call<C extends Contract, K extends keyof C['ops'] & string>(
    contract: C,
    op: K,
    request: RequestOf<C['ops'][K]>,
    options?: CallOptions,
  ): Promise<CallReply<C['ops'][K]> | Reply<never, IcsErrno>>;
}

export function createKeyCalls(q: {
  readonly name: string;
  readonly ics: Ics;
  /** The newest view this process knows. */
  readonly view: () => View | undefined;
}): KeyCalls {
  let seen = 0;
  return {
    async call(contract, op, request, options = {}) {
      const view = q.view();
      const active = view && activeInstance(view, q.name);
      if (!active) return fail('EAGAIN', `nobody serves ${q.name} at the moment`);
      seen = Math.max(seen, active.since);
      let answered = Number.POSITIVE_INFINITY;
      const reply = await q.ics.call(contract, op, active.num, request, {
        ...options,
        onAnswered: (transid) => {
          answered = transid;
          options.onAnswered?.(transid);
        },
      });
      if (answered < seen)
        return fail(
          'ESTALE',
          `${q.name} of node ${active.num} went by view ${answered}, not ${seen}`,
        );
      if (Number.isFinite(answered)) seen = Math.max(seen, answered);
      return reply;
    },
  };
}
