// The node whose service a program keeps a session with.
import { fail, findMember, ok, type Reply, upMembers } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { ClientLink } from './link.ts';
import type { ViewSource } from './view-source.ts';

/** A view is asked for again after this; younger ones are not. */
const lookMs = 150;
/** Who answers first may not have come to the newest view yet, and who is COMINGUP is about to be UP. */
const looksMax = 10;

/**
 * `wanted`, else the node this process is on, else one that is UP. EHOSTDOWN: `wanted` is not UP, nor about
 * to be; EHOSTUNREACH: none is.
 */
export async function homeNode(
  link: Pick<ClientLink, 'clock' | 'seeds'>,
  views: Pick<ViewSource, 'refresh'>,
  wanted: number | undefined,
): Promise<Reply<number>> {
  for (let looks = 1; ; looks++) {
    const view = await views.refresh();
    if (!view.ok) return view;
    const up = upMembers(view.value).map((m) => m.num);
    const node = wanted ?? link.seeds.find((num) => up.includes(num)) ?? up[0];
    if (node === undefined) return fail('EHOSTUNREACH', 'no node of the cluster is UP');
    if (up.includes(node)) return ok(node);
    if (findMember(view.value, node)?.state !== 'COMINGUP' || looks === looksMax)
      return fail('EHOSTDOWN', `node ${node} is not UP; UP are: ${up.join(' ')}`);
    await sleep(link.clock, lookMs);
  }
}
