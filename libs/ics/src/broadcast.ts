// Broadcast: one RPC to every node that is UP. It is a call to each, and not one frame for all, since each
// has its own numbers: so each node runs it once at most, and what the others do holds nobody up.
// [OpenSSI ICS: operations on all nodes]
import { type Contract, type Op, type RequestOf, upMembers, type View } from '@ssi/contracts';
import type { CallOptions, CallReply, Ics } from '@ssi/ports';

/** What each node said, in the order of their numbers. */
export type Answers<O extends Op> = ReadonlyMap<number, CallReply<O>>;

/**
 * Asks every node that is UP in `view`, its own too, and resolves when each has answered or its call ended:
 * EHOSTDOWN where the node went down meanwhile, EHOSTUNREACH where nobody serves the contract. Nodes that came
 * UP later are not asked.
 */
export async function callAll<C extends Contract, K extends keyof C['ops'] & string>(
  ics: Pick<Ics, 'call'>,
  view: View,
  contract: C,
  op: K,
  request: RequestOf<C['ops'][K]>,
  options?: CallOptions,
): Promise<Answers<C['ops'][K]>> {
  const nodes = upMembers(view).map((m) => m.num);
  return new Map(
    await Promise.all(
      nodes.map(async (n) => [n, await ics.call(contract, op, n, request, options)] as const),
    ),
  );
}
