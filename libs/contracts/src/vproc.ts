// Contract of services/vproc: one process table. An operation on a pid goes to the pid's origin node
// (or its surrogate), which knows where the process executes; the move protocol runs between the
// execution nodes. v1: first version. [OpenSSI vproc; signal(7), wait(2)]
import { z } from 'zod';
import { actorExit, actorInfo, actorType } from './actor.ts';
import { defineContract, rpc } from './contract.ts';
import { incarnation, nodeNum, pid, serviceBootId, transId } from './ids.ts';
import { moveOps, moveReason, streamState } from './move.ts';
import { exitStatus, originEntry, processInfo } from './process.ts';
import { serviceOps } from './service.ts';

/** What moving something away calls. */
const moveCalls = [
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
] as const;

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
      /** System V objects of its own (and its children's), which move with it and nobody else sees. [ipc_namespaces(7)] */
      privateIpc: z.boolean().optional(),
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
    callers: ['read', 'dlm', 'ipc'],
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
    callers: ['read', 'vproc', 'dlm', 'ipc'],
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
    calls: moveCalls,
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
  ...moveOps,
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
  rfork: rpc({
    callers: ['operate'],
    summary:
      'Another actor as this one is now, on another node: its state and timers, an empty mailbox, a pid of the node that is asked, which is the execution node. After any error but ETIMEDOUT there is no such actor. EOPNOTSUPP: it cannot move there, or is no actor: a program forks itself, by libssi. Else as `migrate`. [rfork(3ssi)]',
    request: z.object({ pid, to: nodeNum, uid: z.int().min(0) }),
    reply: z.object({ pid }),
    errnos: [
      'ESRCH',
      'EREMCHG',
      'EOPNOTSUPP',
      'EPERM',
      'EAGAIN',
      'EBUSY',
      'ECANCELED',
      'EHOSTDOWN',
      'EHOSTUNREACH',
      'ENETDOWN',
      'ENOSPC',
      'EINVAL',
      'EIO',
    ],
    timeoutMs: 60_000,
    calls: [...moveCalls, 'actor.fork'],
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
