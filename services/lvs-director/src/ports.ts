// What only the director touches: whatever carries packets from clients to servers.
import type { Reply, VirtualService } from '@ssi/contracts';
import type { Places } from './places.ts';

/** A service with the servers that are in its pool, and which of them gets what. */
export interface Planned {
  readonly service: VirtualService;
  readonly places: Places;
}

/** Connections that a server has, of one service. Keys as `serviceText serverText`. */
export interface Connections {
  readonly active: number;
  readonly inactive: number;
}

export interface Traffic {
  /** Connections begun since it was added. */
  readonly connections: number;
  readonly inPackets: number;
  readonly inBytes: number;
  readonly outPackets: number;
  readonly outBytes: number;
}

export interface DataPlane {
  /**
   * Takes the place of what was applied before, all or nothing: on any errno that goes on. Established connections
   * stay where they are. EBUSY: what it would need is somebody else's. EOPNOTSUPP: forwarding it cannot do. EIO:
   * refused by the system.
   */
  apply(planned: readonly Planned[]): Promise<Reply<undefined, 'EBUSY' | 'EOPNOTSUPP' | 'EIO'>>;
  /** By server, as `linkKey` names it. */
  connections(): Promise<Reply<ReadonlyMap<string, Connections>, 'EIO'>>;
  traffic(): Promise<Reply<ReadonlyMap<string, Traffic>, 'EIO'>>;
  /** Nothing of it is left. Idempotent. */
  clear(): Promise<Reply<undefined, 'EIO'>>;
}
