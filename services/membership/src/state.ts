// What the parts of a membership share: who this node is, the view it has applied, what it promised,
// its lease. One thread, no locks; each field is written by the part named beside it.
import type { MemberId, NodeFacts, View } from '@ssi/contracts';
import { findMember, sameIncarnation, talksIn } from '@ssi/contracts';
import type { Clock, Ics, Kv, Log, Random } from '@ssi/ports';
import { isLeased, type Lease, noLease } from './lease.ts';
import { noPromise, type Promised } from './mandate.ts';
import type { Disk, Fence, Heartbeats, NodedownScript, NodeGuard } from './ports.ts';
import type { QuorumOptions } from './quorum.ts';
import type { Timing } from './timing.ts';

export interface MembershipConfig {
  readonly cluster: string;
  readonly num: number;
  readonly name: string;
  readonly facts: Omit<NodeFacts, 'heartbeatPorts'>;
  /** Fixed when the cluster forms. */
  readonly pidBits: 14 | 16;
  /** Services of this node that must be ready before it is UP. */
  readonly services: readonly string[];
  readonly quorum: QuorumOptions;
  readonly timing: Timing;
}

export interface MembershipDeps {
  readonly config: MembershipConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly kv: Kv;
  readonly ics: Ics;
  readonly heartbeats: Heartbeats;
  readonly guard: NodeGuard;
  readonly disk: Disk;
  readonly fence?: Fence;
  readonly script?: NodedownScript;
  /** Tells listeners on the bus: nodeup, nodedown, step, master. Lost where nobody listens. */
  readonly publishEvent: (event: string, body: unknown) => void;
  /** Told with each view that names this life: who reaches this service, and how, goes by it. */
  readonly onMember?: (self: MemberId) => void;
}

export interface NodeState {
  /** life.ts */
  id: MemberId;
  /** life.ts, election.ts: of the cluster this node is in or asks to join. */
  clusterId: string | undefined;
  /** views.ts: the newest view applied. */
  view: View | undefined;
  /** member.ts, master.ts */
  lease: Lease;
  /** member.ts, election.ts */
  promised: Promised;
  /** member.ts: when a master was last heard. */
  heardMasterMs: number;
  /** probe.ts: the KV answered the last time; and since when that is so. */
  broker: { ok: boolean; sinceMs: number };
  role: 'slave' | 'candidate' | 'master';
  /** life.ts: this node is asked to go, it stands for nothing any more. */
  leaving: boolean;
  stopped: boolean;
}

export const newState = (id: MemberId, nowMs: number): NodeState => ({
  id,
  clusterId: undefined,
  view: undefined,
  lease: noLease,
  promised: noPromise,
  heardMasterMs: nowMs,
  broker: { ok: true, sinceMs: nowMs },
  role: 'slave',
  leaving: false,
  stopped: false,
});

/** This life as the applied view has it, while it may be talked to. */
export function selfIn(state: NodeState): ReturnType<typeof findMember> {
  const m = state.view && findMember(state.view, state.id.num);
  return m && sameIncarnation(m.incarnation, state.id.incarnation) && talksIn(m.state)
    ? m
    : undefined;
}

/** Whether the applied view speaks of this life at all: before that it is a memory of another one. */
export const isSpokenOf = (state: NodeState): boolean => {
  const m = state.view && findMember(state.view, state.id.num);
  return m !== undefined && sameIncarnation(m.incarnation, state.id.incarnation);
};

export const leasedNow = (state: NodeState, nowMs: number): boolean =>
  selfIn(state) !== undefined && isLeased(state.lease, nowMs);
