// What only membership touches: the guard's lease, the heartbeat channel, its memory on disk, fence
// agents. Each has an adapter and an in-memory twin in adapters/. Errors are data.
import type { Incarnation, MemberId, NodeFacts, Reply, View } from '@ssi/contracts';
import type { HeartbeatMessage } from './messages.ts';

/** The node's pid 1, as far as membership needs it. */
export interface NodeGuard {
  /** From now, programs may run for `ms` more; 0 freezes them at once. Not answered: the guard acts alone. */
  lease(ms: number): void;
  /** SIGKILL of every program of the node; answers when none is left. Idempotent. */
  kill(): Promise<Reply<undefined, 'EIO' | 'ETIMEDOUT'>>;
  close(): void;
}

export interface HeartbeatPeer {
  readonly num: number;
  readonly addresses: readonly string[];
  readonly ports: NodeFacts['heartbeatPorts'];
}

/**
 * Datagrams between memberships: unordered, lossy, each at most once. Every message goes by all ways
 * there are at the same time; the first copy counts. A node without known addresses is tried on the bus:
 * so is this node's own number, where another machine may have it by mistake.
 */
export interface Heartbeats {
  send(to: number, message: HeartbeatMessage): void;
  onMessage(handler: (message: HeartbeatMessage) => void): void;
  setPeers(peers: readonly HeartbeatPeer[]): void;
  /** Where others reach this channel; 0: no such way. */
  readonly ports: NodeFacts['heartbeatPorts'];
  close(): Promise<void>;
}

/** What a voter promised by name, so that a restarted membership keeps it. */
export interface PromiseMade {
  readonly term: number;
  readonly to: number;
  readonly life: string;
}

export interface Stored {
  /** Of this node number, across lives. */
  readonly bootCount: number;
  /** The life of the guard that runs now, if a membership of it wrote one (tmpfs of the node). */
  readonly life?: { readonly incarnation: Incarnation; readonly promise?: PromiseMade };
  readonly remembered?: { readonly clusterId: string; readonly view: View };
}

/**
 * Membership's memory. Writes are durable when they resolve (fsync, rename), later ones win; `saveLife`
 * is durable for the life of the guard only, bootCount for good.
 */
export interface Disk {
  load(): Promise<Stored>;
  saveBootCount(bootCount: number): Promise<void>;
  saveLife(life: NonNullable<Stored['life']>): Promise<void>;
  saveView(remembered: NonNullable<Stored['remembered']>): Promise<void>;
}

/** STONITH: makes sure that a node is off. Absent: none is configured. [fence agents] */
export interface Fence {
  fence(node: MemberId): Promise<Reply<undefined, 'EIO' | 'ETIMEDOUT'>>;
}

/** The user's script, the last nodedown step; run once on each node for each nodedown. */
export interface NodedownScript {
  run(dead: readonly MemberId[], transid: number): Promise<Reply<undefined, 'EIO' | 'ETIMEDOUT'>>;
}
