// No program of a life that a view has excluded runs from that view on (a halted machine apart: there
// only its guard's next run is promised).
import { findMember, sameIncarnation, talksIn } from '@ssi/contracts';
import type { SimCluster } from '../cluster.ts';
import { Violation } from '../world.ts';
import type { Checker } from './checker.ts';
import type { ViewsChecker } from './views.ts';

export class ExcludedChecker implements Checker {
  readonly name = 'excluded';

  constructor(cluster: SimCluster, views: ViewsChecker) {
    views.onView((view, _, first) => {
      if (!first) return;
      for (const node of cluster.nodes) {
        const life = node.life;
        const member = findMember(view, node.num);
        if (!node.up || node.halted || !life || !member) continue;
        const over =
          (sameIncarnation(member.incarnation, life) && !talksIn(member.state)) ||
          member.incarnation.bootCount > life.bootCount;
        if (over && !node.machine.frozen && node.machine.processes.size > 0)
          throw new Violation(
            this.name,
            `view ${view.transid} has node ${node.num} as ${member.state}, but its programs run`,
          );
      }
    });
  }
}
