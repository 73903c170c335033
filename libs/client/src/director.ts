// Calls to the LVS director, wherever the view says it is. [design: key services]
import {
  directorKey,
  type Errno,
  fail,
  lvs,
  ok,
  type Reply,
  type ReplyOf,
  type RequestOf,
  type View,
} from '@ssi/contracts';
import { createKeyCalls } from '@ssi/ics';
import { sleep } from '@ssi/ports';
import type { ClientLink } from './link.ts';
import type { ViewSource } from './view-source.ts';

export type DirectorOp = 'change' | 'table' | 'stats' | 'zero';
type Ask<K extends DirectorOp> = RequestOf<(typeof lvs.ops)[K]>;
type Told<K extends DirectorOp> = ReplyOf<(typeof lvs.ops)[K]>;

/** EOPNOTSUPP: this cluster has none. EAGAIN: nobody directs for longer than the caller waits. */
export type DirectorCall = <K extends DirectorOp>(
  op: K,
  request: Ask<K>,
) => Promise<Reply<Told<K>>>;

/** A successor is there within a second; with time to spare. */
const waitMs = 10_000;
const againMs = 50;
/** It did not run, so that it may be asked again. */
const again: readonly Errno[] = ['EAGAIN', 'EREMCHG', 'EHOSTUNREACH'];
const looks: readonly Errno[] = [...again, 'EHOSTDOWN', 'ESTALE', 'ETIMEDOUT'];

export function directorCalls(link: ClientLink, views: ViewSource): DirectorCall {
  let view: View | undefined;
  const keys = createKeyCalls({ name: directorKey, ics: link.ics, view: () => view });
  return async (op, request) => {
    const endMs = link.clock.nowMs() + waitMs;
    for (;;) {
      const told = await views.refresh();
      if (!told.ok) return told;
      view = told.value;
      if (!view.members.some((m) => m.facts.keyServices?.includes(directorKey)))
        return fail(
          'EOPNOTSUPP',
          'this cluster has no director: its nodes have no network of their own',
        );
      const reply = await keys.call(lvs, op, request);
      if (reply.ok) return ok(reply.value as Told<typeof op>);
      const mayAsk = op === 'change' ? again : looks;
      if (!mayAsk.includes(reply.errno) || link.clock.nowMs() >= endMs)
        return reply as Reply<never>;
      await sleep(link.clock, againMs);
    }
  };
}
