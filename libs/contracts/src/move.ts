// What the two vprocs of a move say to each other, and why a move is refused. A tree is described by its
// tasks, its standard streams by their states; the images go by a stream beside the bus. [design 7: migrate]
import { z } from 'zod';
import { rpc } from './contract.ts';
import { incarnation, nodeNum, pid } from './ids.ts';

/** Stable reason codes for what cannot move. A code stays listed when it is no longer given. */
export const moveReasonCode = z.enum([
  'ESELF', // the target is where it already is
  'ENODE', // the target is not UP or runs no native processes
  'EKERNELFEATURE', // criu, its version or the kernel differ
  'ECPU', // the target's CPU lacks flags the source has
  'ENOFILE', // a file, binary or library is missing at the target, or another one
  'EPIDBUSY', // a pid, tid, pgid or sid is in use at the target
  'EPIDRANGE', // a pid outside every node's range
  'ETCPADDR', // TCP connected from an address that does not move along, or one bound to such
  'EIOURING',
  'EUSERFAULTFD',
  'EBPF',
  'EPERFFD',
  'ELANDLOCK',
  'EINOTIFY',
  'EDEVICE',
  'ESYSVIPC',
  'EPOSIXMQ',
  'EUSERNS',
  'EPTRACE',
  'EEXTERNALFD',
  'EUNIXPEER',
  'ETTY', // a terminal that is not the cluster's
  'ESESSION', // shares its session or group with processes that would stay
  'EPARENT', // its parent stays and no stub can stand in
  'EKIND', // an actor whose definition the target does not have
  'EPINNED', // started with onnode -p
  'ENOSPACE', // the target has no room for the images
  'EFROZEN',
  'EDUMP',
  'ERESTORE',
  'ELOCK', // holds a file lock, which two copies cannot hold at once
]);
export type MoveReasonCode = z.infer<typeof moveReasonCode>;
export const moveReason = z.object({
  code: moveReasonCode,
  pid: pid.optional(),
  detail: z.string(),
});
export type MoveReason = z.infer<typeof moveReason>;

export const moveTask = z.object({
  pid,
  ppid: z.int().min(0),
  pgid: z.int().min(0),
  sid: z.int().min(0),
  tids: z.array(z.int()),
  command: z.string(),
  /** Absent: native. */
  kind: z.literal('actor').optional(),
  hop: z.int().min(0),
  /** As in `originEntry`. */
  born: z.int().min(0).optional(),
  /** Stopped by a signal before the move: stays stopped after it. */
  stopped: z.boolean().optional(),
  /** The pid that `run` returned and whose streams it may hold; absent: none known. */
  owner: pid.optional(),
  /** What `run` was asked for; only on the pid that it returned. */
  run: z
    .object({
      tty: z.boolean(),
      pin: z.boolean(),
      sigcluster: z.int().min(1).max(64).optional(),
      addr: z.ipv4().optional(),
      uid: z.int().min(0),
      gid: z.int().min(0),
    })
    .optional(),
});
export type MoveTask = z.infer<typeof moveTask>;

/** State of one numbered byte stream of a process group started by `run`, carried in the commit. */
export const streamState = z.object({
  /** The pid that `run` returned: its streams live as long as anyone holds them. */
  owner: pid,
  name: z.enum(['in', 'out', 'err', 'tty']),
  /** Bytes ever appended to the log. */
  endOffset: z.int().min(0),
  /** First offset still in the log. */
  startOffset: z.int().min(0),
  /** in: bytes already handed to the program. */
  fedOffset: z.int().min(0),
  eof: z.boolean(),
});
export type StreamState = z.infer<typeof streamState>;

/** What `rexec` puts in the place of a process: as execve(2) takes it, and as whom. */
export const moveProgram = z.object({
  argv: z.array(z.string()).min(1),
  env: z.record(z.string(), z.string()),
  cwd: z.string(),
  uid: z.int().min(0),
  gid: z.int().min(0),
});
export type MoveProgram = z.infer<typeof moveProgram>;

const moveId = z.string().regex(/^[0-9a-f]{32}$/);

/** Operations between source and target, spread into the contract of vproc. */
export const moveOps = {
  moveNegotiate: rpc({
    callers: ['vproc'],
    summary:
      'Source to target: could you take this tree? Without `dryRun` it is reserved and a stream is opened for its images. `reasons` not empty: refused, nothing reserved. Idempotent by moveId.',
    request: z.object({
      moveId,
      dryRun: z.boolean(),
      root: pid,
      kind: z.enum(['native', 'actor']),
      tasks: z.array(moveTask),
      /** Files the tree has open or mapped that must be there with this size; digests of binaries and libraries. */
      files: z.array(
        z.object({ path: z.string(), sizeBytes: z.int(), digest: z.string().optional() }),
      ),
      kernel: z.string(),
      criu: z.string(),
      cpuFlags: z.array(z.string()),
      bytesEstimate: z.int().min(0),
      /** The source would send memory ahead, while the tree still runs. */
      ahead: z.boolean().optional(),
      source: z.object({ node: nodeNum, incarnation }),
    }),
    reply: z.object({
      reasons: z.array(moveReason),
      grant: z
        .object({
          token: z.string(),
          addresses: z.array(z.string()),
          port: z.int(),
          /** Of a second connection, for memory that is sent ahead; absent: the target takes none. */
          aheadToken: z.string().optional(),
        })
        .optional(),
    }),
    errnos: ['EAGAIN', 'ESTALE', 'EALREADY', 'ENETDOWN'],
    priority: 1,
    timeoutMs: 10_000,
    calls: ['ics.grant'],
  }),
  moveRestore: rpc({
    callers: ['vproc'],
    summary:
      'Source to target: the images are all sent, restore them (or start `program`) and leave the tree stopped. The source is in doubt from here. ok: the copy stands, and the membership of this node has just said that both nodes are members. ECANCELED, ENOSPC, or the errno of execve(2): could not, nothing is left. Idempotent by moveId: asked again it repeats its word, with membership’s.',
    request: z.object({
      moveId,
      streams: z.array(streamState),
      tasks: z.array(moveTask),
      /** Of the images, as sent. */
      bytes: z.int().min(0),
      /** The root leads no session of its own. [criu(8): --shell-job] */
      shellJob: z.boolean().optional(),
      /** Established TCP is in the images. [criu(8): --tcp-established] */
      tcpEstablished: z.boolean().optional(),
      /** Terminal of the streams' owner, as the images name it. */
      tty: z
        .object({ external: z.string(), rows: z.int().min(1), cols: z.int().min(1) })
        .optional(),
      /** Instead of images: start this under the root's pid. [rexec] */
      program: moveProgram.optional(),
    }),
    reply: z.object({ restoreMs: z.number() }),
    errnos: ['ECANCELED', 'ESTALE', 'EAGAIN', 'ENOENT', 'EACCES', 'ENOEXEC', 'EPERM', 'ENOSPC'],
    priority: 1,
    timeoutMs: 60_000,
    calls: ['clms.confirm', 'actor.install', 'actor.destroy'],
  }),
  moveCommit: rpc({
    callers: ['vproc'],
    summary:
      'Source to target: my copy is dead, run yours. Repeated until answered; idempotent by moveId.',
    request: z.object({ moveId }),
    reply: z.object({ resumed: z.boolean() }),
    errnos: ['ESTALE', 'ESRCH', 'EAGAIN'],
    priority: 2,
    timeoutMs: 5_000,
    calls: ['actor.resume'],
  }),
  moveAbort: rpc({
    callers: ['vproc'],
    summary:
      'Source to target: destroy your copy. The reply says it is destroyed; only then does the source run on. Repeated until answered; idempotent by moveId, also for a move never heard of.',
    request: z.object({ moveId, root: pid }),
    reply: z.object({}),
    errnos: ['EALREADY', 'EAGAIN'],
    priority: 2,
    timeoutMs: 5_000,
    calls: ['actor.destroy'],
  }),
  moveStatus: rpc({
    callers: ['vproc'],
    summary:
      'What the asked side knows of a move: the source asks why a target has broken off the stream.',
    request: z.object({ moveId }),
    reply: z.object({
      phase: z.string(),
      /** Why it ended; absent: it has not, or by the other side's word. */
      failure: z.object({ errno: z.string(), detail: z.string() }).optional(),
    }),
    errnos: ['ESRCH', 'EAGAIN'],
    priority: 2,
  }),
} as const;
