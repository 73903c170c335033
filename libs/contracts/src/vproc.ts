// Contract of services/vproc: one process table. An operation on a pid goes to the pid's origin node
// (or its surrogate), which knows where the process executes; the move protocol runs between the
// execution nodes. v1: first version. [OpenSSI vproc; signal(7), wait(2)]
import { z } from 'zod';
import { actorExit, actorInfo, actorType } from './actor.ts';
import { defineContract, rpc } from './contract.ts';
import { incarnation, nodeNum, pid, serviceBootId, transId } from './ids.ts';
import { serviceOps } from './service.ts';

/** What ps(1) would say, plus `moving` (between two nodes) and `frozen` (its node lost its lease). */
export const processState = z.enum([
  'running',
  'sleeping',
  'disk',
  'stopped',
  'traced',
  'zombie',
  'idle',
  'moving',
  'frozen',
  'exited',
]);

export const processInfo = z.object({
  pid,
  /** 0: its parent is outside the table (the node's init). */
  ppid: z.int().min(0),
  pgid: z.int().min(0),
  sid: z.int().min(0),
  /** Node it executes on. */
  node: nodeNum,
  /** Node whose range the pid is from, or its surrogate now. */
  origin: nodeNum,
  state: processState,
  kind: z.enum(['native', 'actor']),
  command: z.string(),
  uid: z.int().min(0),
  threads: z.int().min(0),
  /** Resident set, bytes. */
  rssBytes: z.int().min(0),
  /** CPU time used, ms. */
  cpuMs: z.number().min(0),
  /** Committed moves so far. */
  hop: z.int().min(0),
});
export type ProcessInfo = z.infer<typeof processInfo>;

export const exitStatus = z.object({
  pid,
  /** exit(3) code, null when a signal ended it. */
  code: z.int().min(0).max(255).nullable(),
  /** Signal name as kill -l spells it (`SIGTERM`), null when it exited. */
  signal: z.string().nullable(),
  /** Why, where it was not the program's own end: EHOSTDOWN, its node died. */
  reason: z.enum(['EHOSTDOWN']).optional(),
  rusage: z
    .object({ userMs: z.number(), systemMs: z.number(), maxRssBytes: z.number() })
    .optional(),
});
export type ExitStatus = z.infer<typeof exitStatus>;

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

/** A process as the nodes tell each other: enough for origin tables and their rebuild. */
export const originEntry = z.object({
  pid,
  ppid: z.int().min(0),
  pgid: z.int().min(0),
  sid: z.int().min(0),
  /** Thread ids other than the pid, of the same range: their numbers are held too. */
  tids: z.array(pid),
  kind: z.enum(['native', 'actor']),
  node: nodeNum,
  hop: z.int().min(0),
  /** Which user of the number: grows with each reuse of the pid. Absent: 0. */
  born: z.int().min(0).optional(),
  /** Whose it is: who started it, for one that `run` started, else as whom it runs. Absent: not known. */
  uid: z.int().min(0).optional(),
  /** `doubt`: this side of a move cannot say who runs it; signals and waits queue. */
  phase: z.enum(['live', 'doubt', 'exited']),
  exit: exitStatus.optional(),
});
export type OriginEntry = z.infer<typeof originEntry>;

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

export const vproc = defineContract('vproc', 1, {
  ...serviceOps,
  run: rpc({
    callers: ['operate'],
    summary:
      'Starts a program on this node. ENOENT, EACCES, ENOEXEC: as execve(2) gives them; ENETDOWN: this node has no lease; EOPNOTSUPP: this node runs actors only; EADDRINUSE: somebody has `addr`; EADDRNOTAVAIL: it is in no network of this node.',
    request: z.object({
      argv: z.array(z.string()).min(1),
      env: z.record(z.string(), z.string()),
      cwd: z.string(),
      uid: z.int().min(0),
      gid: z.int().min(0),
      /** A terminal of this size instead of three streams. */
      tty: z.object({ rows: z.int().min(1), cols: z.int().min(1) }).optional(),
      /** onnode -p: never moved by anyone but root by force. */
      pin: z.boolean().optional(),
      /** Signal sent on each membership change. [SIGCLUSTER] */
      sigcluster: z.int().min(1).max(64).optional(),
      /** Standard input ends at once (nobody will write). */
      noInput: z.boolean().optional(),
      /** io_uring_setup(2) works, and with a ring open it does not move; absent: ENOSYS. */
      ioUring: z.boolean().optional(),
      /**
       * IPv4 address that is the program's as long as it lives and moves with it, its established TCP too. In
       * a network of the node's; nobody else may have it.
       */
      addr: z.ipv4().optional(),
    }),
    reply: z.object({ pid }),
    errnos: [
      'ENOENT',
      'EACCES',
      'ENOEXEC',
      'E2BIG',
      'ENOTDIR',
      'EAGAIN',
      'ENETDOWN',
      'EOPNOTSUPP',
      'EADDRINUSE',
      'EADDRNOTAVAIL',
      'EPERM',
      'EIO',
    ],
    timeoutMs: 10_000,
  }),
  list: rpc({
    callers: ['read'],
    summary:
      'Processes that execute on this node. Each process of the cluster is told by exactly one node.',
    request: z.object({}),
    reply: z.object({ processes: z.array(processInfo) }),
    errnos: ['EAGAIN'],
    timeoutMs: 10_000,
  }),
  where: rpc({
    callers: ['read'],
    summary:
      'Asked of the origin: where the process executes. ESRCH: no such process; EREMCHG: that node is its origin now. An exited process that nobody waited for is still found.',
    request: z.object({ pid }),
    reply: z.object({ entry: originEntry }),
    errnos: ['ESRCH', 'EREMCHG', 'EAGAIN'],
  }),
  signal: rpc({
    callers: ['operate', 'vproc'],
    summary:
      'kill(2): a positive pid one process, a negative one a process group wherever its members are. Asked of the origin, which passes it on; waits while the process moves. Signal 0 only asks.',
    request: z.object({ pid: z.int(), signal: z.int().min(0).max(64), uid: z.int().min(0) }),
    reply: z.object({ delivered: z.int().min(0) }),
    errnos: ['ESRCH', 'EPERM', 'EINVAL', 'EREMCHG', 'EAGAIN'],
    timeoutMs: 20_000,
    calls: ['vproc.deliver'],
  }),
  deliver: rpc({
    callers: ['vproc'],
    summary: 'Origin to execution node: deliver the signal here. EREMCHG: it moved on.',
    request: z.object({ pid: z.int(), signal: z.int().min(0).max(64), uid: z.int().min(0) }),
    reply: z.object({
      delivered: z.int().min(0),
      /** Members of the group that moved on while this waited: to be told there, one by one. */
      moved: z.array(z.object({ pid, node: nodeNum })).optional(),
    }),
    errnos: ['ESRCH', 'EPERM', 'EINVAL', 'EREMCHG', 'EAGAIN'],
    priority: 1,
    timeoutMs: 20_000,
    calls: ['actor.signal'],
  }),
  wait: rpc({
    callers: ['read', 'vproc'],
    summary:
      'Asked of the origin: waits for the end of a process and takes its status (a second wait gets ECHILD after `reap`). EAGAIN with noHang: still runs. If its node died: signal SIGKILL, reason EHOSTDOWN.',
    request: z.object({ pid, reap: z.boolean(), noHang: z.boolean().optional() }),
    reply: exitStatus,
    errnos: ['ESRCH', 'ECHILD', 'EREMCHG', 'EAGAIN'],
    longPoll: true,
    timeoutMs: 3_600_000,
  }),
  migrate: rpc({
    callers: ['operate'],
    summary:
      'Moves a process with its descendants (or with `group` its whole process group) to another node; asked of the execution node. EOPNOTSUPP lists reasons in detail, each with its code; ECANCELED: rolled back, runs on at the source; EREMCHG: it executes on that node.',
    request: z.object({
      pid,
      to: nodeNum,
      group: z.boolean().optional(),
      postCopy: z.boolean().optional(),
      force: z.boolean().optional(),
      uid: z.int().min(0),
    }),
    reply: z.object({
      pid,
      from: nodeNum,
      to: nodeNum,
      /** Time in which no copy ran, ms. */
      freezeMs: z.number(),
      bytes: z.int(),
      /** W3C trace id, 32 hex digits. */
      traceId: z.string(),
    }),
    errnos: [
      'ESRCH',
      'EINVAL',
      'EREMCHG',
      'EOPNOTSUPP',
      'EBUSY',
      'ECANCELED',
      'EHOSTDOWN',
      'EPERM',
      'ENETDOWN',
      'EAGAIN',
      'ENOSPC',
    ],
    longPoll: true,
    timeoutMs: 300_000,
    calls: [
      'vproc.moveNegotiate',
      'vproc.moveRestore',
      'vproc.moveCommit',
      'vproc.moveAbort',
      'vproc.report',
      'clms.confirm',
      'ics.route',
      'actor.freeze',
      'actor.resume',
      'actor.destroy',
    ],
  }),
  whyNot: rpc({
    callers: ['read'],
    summary:
      'Says, before anyone tries, whether a process could move, with one reason for each thing that cannot.',
    request: z.object({ pid, to: nodeNum.optional(), group: z.boolean().optional() }),
    reply: z.object({ movable: z.boolean(), reasons: z.array(moveReason) }),
    errnos: ['ESRCH', 'EREMCHG', 'EAGAIN'],
    timeoutMs: 10_000,
    calls: ['vproc.moveNegotiate'],
  }),
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
    summary: 'A side that restarted asks the other what it knows of a move.',
    request: z.object({ moveId }),
    reply: z.object({ phase: z.string() }),
    errnos: ['ESRCH', 'EAGAIN'],
    priority: 2,
  }),
  report: rpc({
    callers: ['vproc'],
    summary:
      'Execution node to origin: what changed. Entries with a lower hop than known are ignored. Idempotent.',
    request: z.object({
      node: nodeNum,
      incarnation,
      entries: z.array(originEntry),
      gone: z.array(pid),
      /** The sender has just started: ends that it had not told before may be unknown to the receiver. */
      started: z.boolean().optional(),
    }),
    reply: z.object({
      /** Only for `started`: the pids that the receiver believes to execute at the sender. */
      here: z.array(pid).optional(),
    }),
    errnos: ['EREMCHG', 'ESTALE', 'EAGAIN'],
    priority: 2,
  }),
  census: rpc({
    callers: ['vproc'],
    summary:
      'A node that becomes origin of a range (its own at join, or as surrogate) asks everyone what lives of it: processes, and numbers in use as tid, group or session.',
    request: z.object({ range: nodeNum, transid: transId }),
    reply: z.object({ entries: z.array(originEntry), numbers: z.array(pid) }),
    errnos: ['EAGAIN', 'ESTALE'],
    priority: 2,
    timeoutMs: 10_000,
  }),
  attach: rpc({
    callers: ['read'],
    summary:
      'Opens the standard streams of a process started by `run` on its execution node: where to connect and with which token. ENOENT: it has none here (not started by `run`, or forgotten); EREMCHG: it moved there.',
    request: z.object({ pid, input: z.boolean() }),
    reply: z.object({
      token: z.string(),
      addresses: z.array(z.string()),
      port: z.int(),
      streams: z.array(streamState),
      tty: z.boolean(),
    }),
    errnos: ['ENOENT', 'EREMCHG', 'EAGAIN', 'EBUSY'],
    calls: ['ics.grant'],
  }),
  resize: rpc({
    callers: ['operate'],
    summary:
      "New size of the process's terminal; SIGWINCH goes to its foreground group. ENOTTY: it has none.",
    request: z.object({ pid, rows: z.int().min(1), cols: z.int().min(1) }),
    reply: z.object({}),
    errnos: ['ENOTTY', 'ESRCH', 'EREMCHG', 'EAGAIN'],
  }),
  rexec: rpc({
    callers: ['operate'],
    summary:
      'Replaces the image of a process by another program on another node, same pid and standard streams; asked of the execution node. Until the new one is committed the old one stands still, and runs on after any error. EOPNOTSUPP lists reasons in detail, each with its code; EINVAL: it is on that node. [rexec(3ssi)]',
    request: z.object({
      pid,
      to: nodeNum,
      argv: z.array(z.string()).min(1),
      env: z.record(z.string(), z.string()),
      uid: z.int().min(0),
    }),
    reply: z.object({ pid, node: nodeNum }),
    errnos: [
      'ESRCH',
      'EREMCHG',
      'ENOENT',
      'EACCES',
      'ENOEXEC',
      'EHOSTDOWN',
      'EOPNOTSUPP',
      'EPERM',
      'EAGAIN',
      'ECANCELED',
      'EINVAL',
      'EBUSY',
      'ENETDOWN',
      'ENOSPC',
    ],
    timeoutMs: 20_000,
    calls: [
      'vproc.moveNegotiate',
      'vproc.moveRestore',
      'vproc.moveCommit',
      'vproc.moveAbort',
      'vproc.report',
      'clms.confirm',
      'ics.route',
    ],
  }),
  actorSpawn: rpc({
    callers: ['operate'],
    summary:
      "Starts an actor on this node: a process of kind `actor` with a pid of its own. ENOENT: the node's host has no such type; EHOSTUNREACH: the node has no actor host now; EINVAL: its machine does not start with this input.",
    request: z.object({ type: actorType, input: z.unknown(), uid: z.int().min(0) }),
    reply: z.object({ pid }),
    errnos: ['ENOENT', 'EHOSTUNREACH', 'EINVAL', 'EAGAIN', 'ENETDOWN', 'EIO'],
    timeoutMs: 10_000,
    calls: ['actor.create', 'actor.destroy'],
  }),
  actorHost: rpc({
    callers: ['actor@node'],
    summary:
      "The node's actor host announces itself, every second and whenever something changed; repeated after each start of either side. A host of another boot id takes the place of the one before, whose actors are dead. EBUSY: another host serves this node.",
    request: z.object({
      bootId: serviceBootId,
      types: z.array(actorType),
      /** Grows with each change of `actors`. */
      version: z.int().min(0),
      /** Absent: vproc said that it knows this version. */
      actors: z.array(actorInfo).optional(),
      /** Ends that vproc has not taken yet. */
      exits: z.array(actorExit),
    }),
    reply: z.object({
      /** The version that vproc goes by; another one than asked: send `actors`. */
      known: z.int().min(-1),
      /** Ends that are on record now. */
      taken: z.array(z.object({ pid, birth: z.int() })),
      /** Not of this node any more (declared dead, or left over): destroy them. */
      strangers: z.array(z.object({ pid, birth: z.int() })),
    }),
    errnos: ['EAGAIN', 'EBUSY'],
    priority: 2,
  }),
});

/** Where the ranges lie: node k hands out k*2^bits .. (k+1)*2^bits-1. */
export const pidRange = (num: number, pidBits: 14 | 16): { low: number; high: number } => ({
  low: num * 2 ** pidBits,
  high: (num + 1) * 2 ** pidBits - 1,
});

/** The node whose range a pid is from; 0: outside every node's range (EPIDRANGE). */
export const rangeOf = (p: number, pidBits: 14 | 16): number => Math.floor(p / 2 ** pidBits);
