// What a client can ask of a cluster: the handle `Ssi` and the answers it gives. Answers are Replies;
// nothing here throws.
import type {
  Errno,
  ExitStatus,
  Incarnation,
  IpcInfo,
  IpcType,
  NodeState,
  OriginEntry,
  ProcessInfo,
  Reply,
  ReplyOf,
  RequestOf,
  ResourceInfo,
  View,
  ViewMember,
  vproc,
} from '@ssi/contracts';
import type { SpanRecord, TraceSummary } from '@ssi/telemetry';
import type { ActorCalls } from './actor/calls.ts';
import type { Attachment, AttachOptions } from './attachment.ts';
import type { DirectorCall } from './director.ts';
import type { ClusterEvent } from './events.ts';
import type { Ipc, IpcOptions } from './ipc.ts';
import type { Lockspace, LockspaceOptions } from './lockspace.ts';

export interface NodeInfo {
  readonly num: number;
  readonly name: string;
  readonly state: NodeState;
  readonly incarnation: Incarnation;
  /** As its membership tells; empty when it is DOWN or does not answer. */
  readonly services: readonly { readonly name: string; readonly state: string }[];
  readonly facts: ViewMember['facts'];
  readonly isMaster: boolean;
  /** Key services that are active there, by name. */
  readonly keyServices: readonly string[];
  /** The nodedown step that runs for it now. */
  readonly step?: { readonly name: string; readonly waitingFor: readonly number[] };
  /** False: it is UP in the view, but did not answer this time. */
  readonly answers: boolean;
}

export interface ProcessList {
  /** By pid. */
  readonly processes: readonly ProcessInfo[];
  /** Nodes that are UP but did not answer: their processes are missing here. */
  readonly silent: readonly { readonly node: number; readonly errno: Errno }[];
}

export interface IpcList {
  readonly objects: readonly IpcInfo[];
  /** A node has more than it told. */
  readonly truncated: boolean;
  /** Nodes that are UP but did not answer: what they have is missing here. */
  readonly silent: readonly { readonly node: number; readonly errno: Errno }[];
}

export interface LockList {
  readonly resources: readonly ResourceInfo[];
  /** Nodes that are UP but did not answer: what they are master of is missing here. */
  readonly silent: readonly { readonly node: number; readonly errno: Errno }[];
}

export interface RunRequest extends Omit<RequestOf<typeof vproc.ops.run>, 'uid' | 'gid'> {
  readonly uid?: number;
  readonly gid?: number;
  /** Absent: the least loaded node. */
  readonly node?: number;
}

export interface MoveOptions {
  readonly group?: boolean;
  readonly postCopy?: boolean;
  readonly force?: boolean;
}

export type MigrateReply = ReplyOf<typeof vproc.ops.migrate>;
export type WhyNotReply = ReplyOf<typeof vproc.ops.whyNot>;
export type Answer<T> = Promise<Reply<T>>;

export interface Ssi extends ActorCalls {
  readonly cluster: string;
  /** The newest view a node tells. */
  view(): Answer<View>;
  nodes(): Answer<NodeInfo[]>;
  ps(): Answer<ProcessList>;
  run(request: RunRequest): Answer<{ pid: number; node: number }>;
  where(pid: number): Answer<OriginEntry>;
  migrate(pid: number, to: number, options?: MoveOptions): Answer<MigrateReply>;
  /** A negative pid is a process group. `signal` 0 only asks whether it is there. */
  kill(pid: number, signal: number): Answer<{ delivered: number }>;
  /** Until it ends; `noHang`: EAGAIN while it runs. `reap` (default): its status is taken. */
  wait(
    pid: number,
    options?: { reap?: boolean; noHang?: boolean; timeoutMs?: number; signal?: AbortSignal },
  ): Answer<ExitStatus>;
  whyNot(pid: number, options?: { to?: number; group?: boolean }): Answer<WhyNotReply>;
  rexec(
    pid: number,
    to: number,
    argv: readonly string[],
    env: Readonly<Record<string, string>>,
  ): Answer<{ pid: number; node: number }>;
  attach(pid: number, options?: AttachOptions): Attachment;
  resize(pid: number, rows: number, cols: number): Answer<Record<string, never>>;
  /** Membership transitions: those the cluster remembers (unless `from` is `now`), then each as it comes. */
  events(options?: { from?: 'start' | 'now'; signal?: AbortSignal }): AsyncGenerator<ClusterEvent>;
  /** Transitions the cluster remembers, oldest first. */
  history(): Answer<ClusterEvent[]>;
  trace(traceId: string): Answer<SpanRecord[]>;
  traces(max?: number): Answer<TraceSummary[]>;
  /** A session with the lock manager, for locks of this lockspace. */
  lockspace(name: string, options?: LockspaceOptions): Answer<Lockspace>;
  /** A session for queues, semaphores and fifos. */
  ipc(options?: IpcOptions): Answer<Ipc>;
  /** IPC objects of all UP nodes, by id. [ipcs(1)] */
  ipcs(type?: IpcType): Answer<IpcList>;
  /** Resources with their locks, of all UP nodes, by name. */
  locks(lockspace?: string): Answer<LockList>;
  /** The LVS director: its table, its counts, changes. */
  readonly director: DirectorCall;
  /** The UP node with the least to do per CPU. */
  leastLoaded(options?: { native?: boolean }): Answer<number>;
  /** Moves a key service to another node (absent: where there are fewest); its instance stands down first. */
  handover(service: string, to?: number): Answer<{ transid: number; num: number }>;
  shutdownNode(num: number): Answer<{ transid: number }>;
  /** What services of UP nodes refused since they started, by reason, all together. */
  refusals(): Answer<Record<string, number>>;
  /** What a node is known by (serial numbers of certificates, boot ids) is refused by all others from now on. */
  revoke(words: readonly string[]): Answer<undefined>;
  bootstrap(num: number): Answer<{ transid: number }>;
  close(): Promise<void>;
}
