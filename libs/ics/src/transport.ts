// The lower layer of ICS as a port: carries frames between endpoints and says what it knows of paths.
//
// Promises. A frame arrives whole or not at all, and at most once for each `send` unless `mayDuplicate`.
// It may be lost, and frames may overtake each other: order, repetition and at-most-once are the upper
// layer's. `unreachable` is a promise: that frame was handed to nobody and never will be. Nothing here
// throws or blocks; the receiver is never called from inside `send`.
import type { Endpoint, TransportName } from '@ssi/contracts';

/** A frame on its way to a server. */
export interface Outgoing {
  readonly to: number;
  readonly contract: string;
  readonly version: number;
  readonly op: string;
  readonly frame: Uint8Array;
  /** Given back by `unreachable`; [A-Za-z0-9_-]+. */
  readonly tag: string;
  readonly traceparent?: string | undefined;
}

/** The way back to where a frame came from. */
export interface Via {
  readonly transport: TransportName;
  /** Whom it leads to, where the transport can tell (memory). */
  readonly to?: Endpoint;
  /** False: it certainly did not leave. */
  send(frame: Uint8Array): boolean;
}

/** What the transport vouches for; a frame that says otherwise of itself is forged and dropped. */
export interface Claim {
  readonly node: number;
  /** Absent: any of that node's. */
  readonly service?: string;
  /** Boot id of a client. */
  readonly instance?: string | undefined;
  readonly contract?: string;
  readonly op?: string;
}

/** The upper layer. */
export interface Receiver {
  /** Without `claim` the transport knows nothing of the sender (memory). */
  frame(bytes: Uint8Array, via: Via, claim?: Claim): void;
  /** The transport refused something before it was a frame: counted with the forged ones. */
  forged?(): void;
  /** Nobody was there for the frame with this tag. */
  unreachable(transport: TransportName, tag: string): void;
  /** A path that worked is gone: what went that way and has no answer is worth sending again. */
  broken(transport: TransportName, to?: { node: number; contract: string }): void;
  /** `ready` may answer otherwise now. */
  changed(transport: TransportName): void;
}

export interface Transport {
  readonly name: TransportName;
  /** Rough round trip before anything was measured, ms: ranks transports at first. */
  readonly guessMs: number;
  readonly mayDuplicate: boolean;
  /** Once, before anything else. */
  open(receiver: Receiver): void;
  /** Frames for this contract on this node come here from now on. */
  serve(contract: string): void;
  /** Whether a frame to this server has a chance now. */
  ready(node: number, contract: string): boolean;
  /** Where it is not ready: true when that is for want of a server, false when the transport itself is away. */
  absent(node: number, contract: string): boolean;
  send(out: Outgoing): void;
  /** The way to a caller whose `Via` is gone, where the transport has one. */
  backTo(caller: Endpoint): Via | undefined;
  close(): Promise<void>;
}
