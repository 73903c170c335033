// Bugs that are planted to see whether the checkers find them: each bends what a service is given, or
// what it is told, the way that bug in its code would. Nothing in the services knows of it.

import type { IcsEndpoint } from '@ssi/ics';
import type { NodeGuard } from '@ssi/membership';
import type { VprocPorts } from '@ssi/vproc';
import type { SimNode } from './node.ts';

export interface Plant {
  readonly name: string;
  readonly guard?: (guard: NodeGuard, node: SimNode) => NodeGuard;
  readonly ics?: (ics: IcsEndpoint, service: string, node: SimNode) => IcsEndpoint;
  readonly ports?: (ports: VprocPorts, node: SimNode) => VprocPorts;
}
