// Out-of-line streams: what is too big for the bus goes over one TCP connection between two endpoints,
// opened with a one-time token that a router granted. [OpenSSI ICS: OOL data]
//
// Delivery: in order, checksummed, back-pressured. A connection that breaks is not resumed by itself:
// whoever opened it presents the same token again; the peer's handler learns of the new connection and
// both agree on offsets in their own protocol. One connection at a time: a newer one closes the older.
import type { Reply } from '@ssi/contracts';

export interface Stream {
  /** Next message, or undefined when the peer ended in good order. Rejects when the connection broke or a checksum failed. */
  read(): Promise<Uint8Array | undefined>;
  /**
   * Resolves when there is room for more (back-pressure), which is not when it was sent: the bytes are the
   * stream's from now on and must not change. Rejects when the connection is broken. 1 MiB at most.
   */
  write(message: Uint8Array): Promise<void>;
  /** Ends this direction in good order. */
  end(): Promise<void>;
  /** Drops the connection. */
  destroy(): void;
  readonly closed: Promise<void>;
}

/** A connection without messages: for a program that takes its descriptor over. */
export interface BareConnection {
  /** Nothing was read of it beyond the greeting, and nothing will be. */
  readonly fd: number;
  /** Here; who took it over has it open still. */
  close(): void;
}

export interface StreamListener {
  /** Where `connect` reaches this listener; the same on every interface. */
  readonly port: number;
  /** From now on a connection that presents `token` is handed to `onStream`, until revoked. */
  accept(token: string, onStream: (stream: Stream) => void): { revoke(): void };
  /** Likewise, without messages; absent where connections have no descriptors. */
  acceptBare?(
    token: string,
    onConnection: (connection: BareConnection) => void,
  ): { revoke(): void };
  close(): Promise<void>;
}

/** Where a listener is. */
export interface StreamAddress {
  /** Whose it must be: on an encrypted way it shows that node's certificate. */
  readonly node: number;
  /** Tried in order. */
  readonly addresses: readonly string[];
  readonly port: number;
}

export interface Streams {
  listen(): Promise<StreamListener>;
  /** EACCES: the token is not (or no longer) valid there. */
  connect(
    to: StreamAddress,
    token: string,
    timeoutMs: number,
  ): Promise<Reply<Stream, 'EHOSTUNREACH' | 'ETIMEDOUT' | 'EACCES'>>;
  /** Likewise, to an `acceptBare`. */
  connectBare?(
    to: StreamAddress,
    token: string,
    timeoutMs: number,
  ): Promise<Reply<BareConnection, 'EHOSTUNREACH' | 'ETIMEDOUT' | 'EACCES'>>;
}
