// The node that this service is on, and the view it goes by.
import { findMember, type MemberId, sameIncarnation, upMembers, type View } from '@ssi/contracts';

export class LocalNode {
  readonly num: number;
  view: View | undefined;
  self: MemberId | undefined;
  stopped = false;

  constructor(num: number) {
    this.num = num;
  }

  /** False: it is not newer. */
  apply(view: View, self: MemberId): boolean {
    this.self = self;
    if (this.view && view.transid <= this.view.transid) return false;
    this.view = view;
    return true;
  }

  up(): number[] {
    return this.view ? upMembers(this.view).map((m) => m.num) : [];
  }
  /** This life of this node is UP. */
  get isUp(): boolean {
    const me = this.view && findMember(this.view, this.num);
    return (
      me?.state === 'UP' &&
      this.self !== undefined &&
      sameIncarnation(me.incarnation, this.self.incarnation)
    );
  }
}
