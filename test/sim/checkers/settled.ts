// After everything was healed the cluster comes to rest in bounded time: all nodes UP in one view, all
// programs running once, where their origin says, no move left, no call open beyond its time.
import type { SimCluster } from '../cluster.ts';
import type { ViewsChecker } from './views.ts';

/** undefined: at rest; otherwise what is not. */
export function unsettled(cluster: SimCluster, views: ViewsChecker): string | undefined {
  const view = views.newest;
  if (!view) return 'there is no view';
  for (const node of cluster.nodes) {
    const mine = node.membership?.state.view;
    if (mine?.transid !== view.transid)
      return `node ${node.num} is at ${mine?.transid}, not at ${view.transid}`;
    const state = view.members.find((m) => m.num === node.num)?.state;
    if (state !== 'UP') return `node ${node.num} is ${state}`;
    if (node.machine.frozen) return `node ${node.num} is frozen`;
    for (const p of node.machine.processes.values()) {
      if (p.state !== 'running') return `${p.pid} is ${p.state} on node ${node.num}`;
      const copies = cluster.nodes.filter((n) => n.machine.processes.has(p.pid));
      if (copies.length > 1) return `${p.pid} has copies on ${copies.map((n) => n.num).join(', ')}`;
    }
    // An empty folder without a record is a reservation: it ends by itself, in 120 s.
    for (const [moveId, files] of node.machine.images)
      if (files.size > 0 || node.machine.records.has(moveId))
        return `images of ${moveId} are left on node ${node.num}`;
  }
  return undefined;
}
