// Every export of the client library, by file.

export type { ActorCalls, HostOptions } from './actor/calls.ts';
export type {
  ActorDefinition,
  ActorEffect,
  ActorEvents,
  ActorInput,
  ActorRef,
  ActorSelf,
} from './actor/define.ts';
export { defineActor } from './actor/define.ts';
export type { ActorHost, ActorHostOptions } from './actor/host.ts';
export { createActorHost } from './actor/host.ts';
export type { SendOptions } from './actor/mail.ts';
export { attach } from './attach.ts';
export type { AttachEvent, Attachment, AttachOptions } from './attachment.ts';
export { clientClock } from './clock.ts';
export type { ClusterFile } from './cluster-file.ts';
export { clusterDir, clusterFile, clustersDir, readClusterFile } from './cluster-file.ts';
export type { ClusterAddress, ConnectOptions } from './connect.ts';
export { connect, findCluster, localClusters } from './connect.ts';
export type { DirectorCall } from './director.ts';
export type { ClusterEvent } from './events.ts';
export type {
  IpcList,
  LockList,
  MoveOptions,
  NodeInfo,
  ProcessList,
  RunRequest,
  Ssi,
} from './handle.ts';
export type { InputChunk, InputQueue } from './input-queue.ts';
export { inputQueue } from './input-queue.ts';
export type { IpcOptions } from './ipc.ts';
export { IPC_PRIVATE, Ipc } from './ipc.ts';
export type { OpenFlags } from './ipc-end.ts';
export { IpcEnd, PosixQueue, PosixSemaphore } from './ipc-end.ts';
export type { GetOptions, WaitOptions } from './ipc-session.ts';
export {
  clusterDetailedtransition,
  clusterMembership,
  clusternodeAvail,
  clusternodeInfo,
  clusternodeNum,
  kill3,
  migrate,
  rexec,
  rfork,
  waitpid,
} from './libcluster.ts';
export {
  createLockspace,
  lsConvertWait,
  lsLock,
  lsLockWait,
  lsPurge,
  lsUnlock,
  lsUnlockWait,
  releaseLockspace,
  withLock,
} from './libdlm.ts';
export type { BusProbe, NatsLinkOptions } from './link.nats.ts';
export { natsLink, probeBus } from './link.nats.ts';
export type { ClientLink, ServingEndpoint } from './link.ts';
export { unixLink } from './link.unix.ts';
export { leastLoaded } from './load.ts';
export type {
  Lock,
  LockOptions,
  Lockspace,
  LockspaceOptions,
  UnlockOptions,
} from './lockspace.ts';
export { openLockspace } from './lockspace.ts';
export type { OutputCursor } from './output-cursor.ts';
export { outputCursor } from './output-cursor.ts';
export {
  openRanges,
  type RangeOptions,
  type RangeOwner,
  type RangeOwnerOptions,
} from './ranges.ts';
export { createSsi, hasExited } from './ssi.ts';
