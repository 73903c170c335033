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

/** One look at a real server. Nothing of it takes longer than its `timeoutMs` says, however the server behaves. */
export type Probe =
  | {
      readonly kind: 'tcp';
      readonly address: string;
      readonly port: number;
      readonly timeoutMs: number;
    }
  | {
      readonly kind: 'http';
      readonly tls: boolean;
      readonly address: string;
      readonly port: number;
      readonly path: string;
      readonly host: string;
      /** Also as TLS's server name. */
      readonly sni: boolean;
      /** For the connection, and for each piece of the answer. */
      readonly timeoutMs: number;
    }
  | {
      readonly kind: 'script';
      readonly argv: readonly string[];
      /** Then its process group gets SIGTERM, 2 s later SIGKILL. */
      readonly timeoutMs: number;
    };

export type ProbeResult =
  | { readonly ok: true; readonly kind: 'tcp' }
  | {
      readonly ok: true;
      readonly kind: 'http';
      readonly status: number;
      /** Of the body, at most 64 MiB of it. */
      readonly md5: string;
      /** Its first 64 KiB. */
      readonly text: string;
    }
  | { readonly ok: true; readonly kind: 'script'; readonly exitCode: number }
  | { readonly ok: false; readonly reason: string };

export interface Prober {
  /** Never rejects. When the signal fires it ends at once, and what it started is gone when it has. */
  probe(what: Probe, signal: AbortSignal): Promise<ProbeResult>;
}
