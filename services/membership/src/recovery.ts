// What the KV says against what the members remember. The KV is obeyed only when it is of this cluster
// and not behind; otherwise it is refilled from the newest view that a majority of the disks knows.
import type { View } from '@ssi/contracts';
import type { ClusterRecord } from './record.ts';

/** What a node has on its disk. */
export interface Remembered {
  readonly clusterId: string;
  readonly view: View;
}

export type KvVerdict =
  /** Nobody has ever written and nobody remembers: found a cluster. */
  | 'fresh'
  /** It is what the members know, or newer. */
  | 'good'
  /** Empty, behind, or of another cluster: refill. */
  | 'forgot'
  /** It is another cluster's and we are the ones to give way. */
  | 'foreign';

/** `mine`: the newest view this node (or the voters it asked) remembers. */
export function judge(record: ClusterRecord | undefined, mine: Remembered | undefined): KvVerdict {
  if (!record) return mine ? 'forgot' : 'fresh';
  if (!mine) return 'good';
  if (record.clusterId !== mine.clusterId)
    // Two clusters in one bucket: the longer history stays, the other node joins as a stranger.
    return record.view.transid > mine.view.transid ? 'foreign' : 'forgot';
  return record.view.transid < mine.view.transid ? 'forgot' : 'good';
}

/** The newer of two views: transids are total within a cluster. */
export const newer = (a: View | undefined, b: View | undefined): View | undefined =>
  !a ? b : !b ? a : b.transid > a.transid || (b.transid === a.transid && b.term > a.term) ? b : a;
