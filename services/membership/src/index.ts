// Every export of membership: the service itself for its main and the simulator, and the in-memory
// twins of its ports.
export { createFakeDisk, type FakeDisk } from './adapters/disk.fake.ts';
export { createFakeFence, type FakeFence } from './adapters/fence.fake.ts';
export { createFakeGuard, type FakeGuard } from './adapters/guard.fake.ts';
export {
  type Carrier,
  createFakeHeartbeats,
  type FakeHeartbeats,
} from './adapters/heartbeats.fake.ts';
export type { HeartbeatMessage } from './messages.ts';
export type { Disk, Fence, HeartbeatPeer, Heartbeats, NodeGuard, Stored } from './ports.ts';
export type { QuorumOptions } from './quorum.ts';
export { createMembership, type Membership } from './service.ts';
export type { MembershipConfig, MembershipDeps } from './state.ts';
export { type Timing, timing } from './timing.ts';
