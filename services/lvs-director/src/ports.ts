// What only the director touches: whatever carries packets from clients to servers.
import type {
  ClientFlow,
  DirectorTable,
  Listener,
  Reply,
  TableVersion,
  VirtualService,
} from '@ssi/contracts';
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

/** A connection with the address of the server that has it. */
export interface ServedFlow extends ClientFlow {
  readonly server: string;
}

export interface DataPlane {
  /**
   * Takes the place of what was applied before, all or nothing: on any errno that goes on. Established connections
   * stay where they are. EBUSY: what it would need is somebody else's. EOPNOTSUPP: forwarding it cannot do. EIO:
   * refused by the system.
   */
  apply(
    planned: readonly Planned[],
    more?: {
      /** Connections of another director, that go on here; with direct routing only. */
      readonly flows?: readonly ServedFlow[];
      /** Addresses of servers that are no more: their connections are reset. With direct routing only. */
      readonly gone?: readonly string[];
    },
  ): Promise<Reply<undefined, 'EBUSY' | 'EOPNOTSUPP' | 'EIO'>>;
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

/** The cluster's addresses on this node. */
export interface Addresses {
  /**
   * Programs here may use them, and nobody is told: every node is so, and takes what the director hands on. Others that
   * were here before go.
   */
  share(addresses: readonly string[]): Promise<Reply<undefined, 'EIO'>>;
  /** This node answers for them, and says so on the network. Again for one that it has: says so again. */
  hold(addresses: readonly string[]): Promise<Reply<undefined, 'EIO' | 'EADDRNOTAVAIL'>>;
  /** It answers for none any more. Idempotent; what `share` did stays. */
  release(): Promise<Reply<undefined, 'EIO'>>;
  /** Those it answers for now: the guard may have taken them away. */
  held(): readonly string[];
  /** EADDRNOTAVAIL: in no network of this node, or its own. EADDRINUSE: somebody else there has it. */
  isFree(address: string): Promise<Reply<undefined, 'EADDRINUSE' | 'EADDRNOTAVAIL'>>;
}

/** Sockets of the programs of this node. */
export interface Sockets {
  /** Those that take what comes for any address of the node, or for one of these. */
  listeners(addresses: readonly string[]): readonly Listener[];
  /** Connections of these addresses. */
  flows(addresses: readonly string[]): readonly ClientFlow[];
}

export interface Kept {
  readonly version: TableVersion;
  readonly table: DirectorTable;
}

/** What an instance keeps over restarts of itself and of the node. */
export interface TableStore {
  /** undefined: nothing was kept yet. */
  load(): Promise<Kept | undefined>;
  /** Resolves when it is on disk. */
  save(kept: Kept): Promise<Reply<undefined, 'EIO'>>;
}
