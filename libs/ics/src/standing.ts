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
const openContract = 'clms';

export function standing(q: {
  from: Source;
  contract: string;
  /** The sender's view. */
  transid: number;
  view: View | undefined;
  selfNode: number;
}): Standing {
  const { from, view } = q;
  if (!view || from.node === 0) return 'accepted';
  if (!from.incarnation)
    return from.node === q.selfNode || q.contract === openContract ? 'accepted' : 'stale';
  const member = findMember(view, from.node);
  if (member && sameIncarnation(member.incarnation, from.incarnation)) {
    // The node's own services speak to each other to the end: its membership must hear that it is out.
    const heard = from.node === q.selfNode || q.contract === openContract;
    return heard || talksIn(member.state) ? 'accepted' : 'stale';
  }
  if (member && from.incarnation.bootCount < member.incarnation.bootCount) return 'stale';
  if (q.transid > view.transid) return 'wait';
  if (from.node === q.selfNode || q.contract === openContract) return 'accepted';
  return 'stale';
}

/** Whether the view says that this life of the node is over. An unknown node is not: it may be to come. */
export function isGone(view: View, node: number, incarnation: Incarnation | undefined): boolean {
  const member = findMember(view, node);
  if (!member) return false;
  if (!talksIn(member.state)) return true;
  // A view that names an earlier life lags behind what the node itself said.
  return (
    incarnation !== undefined &&
    member.incarnation.bootCount >= incarnation.bootCount &&
    !sameIncarnation(member.incarnation, incarnation)
  );
}
