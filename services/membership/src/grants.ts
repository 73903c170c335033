// What the votes of an election tell about lives: a vote is a node number's, and comes from the life of
// it that runs now.
import { findMember, type MemberId, sameIncarnation, talksIn, type View } from '@ssi/contracts';

export interface Grant {
  readonly id: MemberId;
  /** Newest view that voter remembers. */
  readonly transid: number;
}

/** Whether `id` is the life that the view has of its number. */
export function isThisLife(view: View, id: MemberId | undefined): boolean {
  const m = id && findMember(view, id.num);
  return m !== undefined && sameIncarnation(m.incarnation, id?.incarnation ?? m.incarnation);
}

/**
 * Lives that are over when a new master begins: the old master's, whose promises ran out (unless it let
 * go by itself); every one that a newer life of its number outlived; at a cold start all of them.
 */
export function deadLives(
  base: View,
  granted: ReadonlyMap<number, Grant>,
  masterLetGo: boolean,
): MemberId[] {
  const living = base.members.filter((m) => talksIn(m.state));
  const cold = !living.some((m) => isThisLife(base, granted.get(m.num)?.id));
  return living
    .filter((m) => {
      const grant = granted.get(m.num);
      if (grant) return !sameIncarnation(grant.id.incarnation, m.incarnation);
      return cold || (m.num === base.master && !masterLetGo);
    })
    .map(({ num, incarnation }) => ({ num, incarnation }));
}
