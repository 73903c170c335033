// Who may speak, by the view: an older incarnation or a stranger that claims to be a member is refused.
// Pure. [design: ICS, no promise outlives nodedown]
import {
  findMember,
  type Incarnation,
  type Source,
  sameIncarnation,
  talksIn,
  type View,
} from '@ssi/contracts';

/** `wait`: the sender goes by a newer view that may name it; judged again when it is sent again. */
export type Standing = 'accepted' | 'stale' | 'wait';

/** The contract that nodes speak before they are members (join, attach), and when they are out (to learn it). */
export const openContract = 'clms';

export function standing(q: {
  from: Source;
  contract: string;
  /** The sender's view. */
  transid: number;
  view: View | undefined;
  selfNode: number;
}): Standing {
  const { from, view } = q;
  // The services of one node speak to each other across its lives: from its membership each learns that
  // the last one is over and which one this is.
  if (!view || from.node === 0 || from.node === q.selfNode) return 'accepted';
  if (!from.incarnation) return q.contract === openContract ? 'accepted' : 'stale';
  const member = findMember(view, from.node);
  if (member && sameIncarnation(member.incarnation, from.incarnation))
    return talksIn(member.state) || q.contract === openContract ? 'accepted' : 'stale';
  if (member && from.incarnation.bootCount < member.incarnation.bootCount) return 'stale';
  if (q.transid > view.transid) return 'wait';
  return q.contract === openContract ? 'accepted' : 'stale';
}

/** Whether the view says that this life of the node is over. An unknown node is not: it may be to come. */
export function isGone(view: View, node: number, incarnation: Incarnation | undefined): boolean {
  const member = findMember(view, node);
  if (!member) return false;
  // A view that names an earlier life lags behind what the node itself said.
  if (incarnation && incarnation.bootCount > member.incarnation.bootCount) return false;
  if (!talksIn(member.state)) return true;
  return incarnation !== undefined && !sameIncarnation(member.incarnation, incarnation);
}
