// Contract of services/ipc-nameserver. On every node it is the agent of its clients and the manager of the
// objects there; on one of them, the active instance of the key service `ipc`, also the nameserver: which
// name is which object on which node. v1: first version. [OpenSSI: IPC name server]
import { z } from 'zod';
import { defineContract, message, rpc } from './contract.ts';
import { nodeNum, pid, serviceBootId, transId } from './ids.ts';
import {
  ipcAttributes,
  ipcCred,
  ipcId,
  ipcObjectErrnos,
  ipcOwner,
  ipcPerm,
  ipcRequest,
  ipcResult,
  ipcSession,
  ipcStat,
  ipcType,
} from './ipc-object.ts';
import { serviceOps } from './service.ts';

/** The key service of the nameserver. */
export const ipcKeyService = 'ipc';

/**
 * A name within its type: msg and sem have 32-bit keys, in decimal (0 is IPC_PRIVATE, which is no name); mq and
 * psem names as mq_open(3) and sem_open(3) have them; fifo an absolute path.
 */
export const ipcName = z.string().min(1).max(4_096);

/** What the nameserver knows of an object. */
export const ipcBinding = z.object({
  id: ipcId,
  type: ipcType,
  /** Absent: private. */
  name: ipcName.optional(),
  node: nodeNum,
  /** Life of the manager that has it. */
  bootId: serviceBootId,
  perm: ipcPerm,
  /** sem: its semaphores. */
  nsems: z.int().optional(),
  /** The asking that made it, so that the same one, repeated, finds what it made. */
  madeBy: z.string().max(64).optional(),
});
export type IpcBinding = z.infer<typeof ipcBinding>;

const getFlags = z.object({
  /** IPC_CREAT, O_CREAT */
  create: z.boolean().optional(),
  /** With `create`: EEXIST where there is one. [IPC_EXCL, O_EXCL] */
  exclusive: z.boolean().optional(),
  /** Of a new one; of one that is there the rights that are wanted. [msgget(2)] */
  mode: z.int().min(0).max(0o777),
});

const getErrnos = ['EACCES', 'EEXIST', 'EINVAL', 'ENAMETOOLONG', 'ENOENT', 'ENOSPC'] as const;

export const ipcInfo = ipcBinding.extend({ stat: ipcStat });
export type IpcInfo = z.infer<typeof ipcInfo>;

export const ipc = defineContract(ipcKeyService, 1, {
  ...serviceOps,
  session: rpc({
    callers: ['operate', 'service@node'],
    summary:
      'Keeps a session: one that is not heard of for `sessionMs` has ended, its undo is applied and its ends are closed. Answered when a queue has something to notify, else after a while. The first call opens it. ESRCH: it has ended. EAGAIN: the node is not UP, or has too many.',
    request: z.object({
      session: ipcSession,
      open: z.boolean().optional(),
      /** For people: who this is. */
      label: z.string().max(128).optional(),
      /** Process of this node that it is for. */
      pid: pid.optional(),
      /** Answers only what came after this number. */
      after: z.int().min(0),
    }),
    reply: z.object({
      sessionMs: z.int(),
      /** mq_notify(3): the end, by the number that its client gave it. */
      told: z.array(z.object({ seq: z.int(), handle: z.int() })),
    }),
    errnos: ['ESRCH', 'EAGAIN'],
    calls: ['vproc.where', 'vproc.wait'],
    longPoll: true,
    timeoutMs: 30_000,
  }),
  close: rpc({
    callers: ['operate', 'service@node'],
    summary: 'Ends a session. Idempotent.',
    request: z.object({ session: ipcSession }),
    reply: z.object({}),
    errnos: [],
    timeoutMs: 10_000,
  }),
  get: rpc({
    callers: ['operate', 'service@node'],
    summary:
      'Finds or makes an object, which is made on the asked node: one question to the nameserver. No name: a private one. Errnos of msgget(2), semget(2), mq_open(3), sem_open(3), mkfifo(3); EAGAIN no nameserver in time; ESRCH the session has ended. Not idempotent with `exclusive`.',
    request: getFlags.extend({
      session: ipcSession,
      type: ipcType,
      name: ipcName.optional(),
      attributes: ipcAttributes.optional(),
    }),
    reply: z.object({ id: ipcId, node: nodeNum, created: z.boolean() }),
    errnos: [...getErrnos, 'EAGAIN', 'ESRCH'],
    calls: ['ipc.lookup'],
    longPoll: true,
    timeoutMs: 30_000,
  }),
  call: rpc({
    callers: ['operate', 'service@node'],
    summary:
      'A call of an object, wherever it is. It waits as long as its manual page says, at most `waitMs` (EAGAIN of semop, else ETIMEDOUT). EINVAL: no such object; EIDRM: it was removed, or its node died; of a fifo whose node died a read ends (no bytes) and a write is EPIPE. EINTR: the client gave up. ESRCH: the session has ended.',
    request: z.object({
      session: ipcSession,
      id: ipcId,
      request: ipcRequest,
      waitMs: z.int().min(0).optional(),
    }),
    reply: ipcResult,
    errnos: [...ipcObjectErrnos, 'ESRCH'],
    calls: ['ipc.locate', 'ipc.operate'],
    longPoll: true,
    timeoutMs: 60_000,
  }),
  list: rpc({
    callers: ['read'],
    summary: 'The objects that this node has. [ipcs(1)]',
    request: z.object({ type: ipcType.optional() }),
    reply: z.object({ objects: z.array(ipcInfo), truncated: z.boolean() }),
    errnos: [],
  }),
  lookup: rpc({
    callers: ['ipc'],
    summary:
      'Nameserver: finds a name or binds it to a new object at the asking node, in one step. Idempotent by `madeBy`. EREMCHG: not the nameserver. EAGAIN: not rebuilt in time. ESTALE: an old manager asks.',
    request: getFlags.extend({
      type: ipcType,
      name: ipcName.optional(),
      nsems: z.int().optional(),
      cred: ipcCred,
      bootId: serviceBootId,
      madeBy: z.string().max(64),
    }),
    reply: z.object({
      binding: ipcBinding,
      created: z.boolean(),
      /** Of the nameserver: a binding of an older one than the manager has answered is not used. */
      epoch: transId,
    }),
    errnos: [...getErrnos, 'EREMCHG', 'EAGAIN', 'ESTALE'],
    calls: ['ipc.exists'],
    priority: 1,
    longPoll: true,
    timeoutMs: 12_000,
  }),
  locate: rpc({
    callers: ['ipc'],
    summary: 'Nameserver: where an object is. EINVAL: there is none. EREMCHG, EAGAIN as lookup.',
    request: z.object({ id: ipcId }),
    reply: z.object({ binding: ipcBinding }),
    errnos: ['EINVAL', 'EREMCHG', 'EAGAIN'],
    calls: ['ipc.exists'],
    priority: 1,
    longPoll: true,
    timeoutMs: 12_000,
  }),
  announce: rpc({
    callers: ['ipc'],
    summary:
      'Nameserver: a manager that has just begun says so: what a former life of it had is gone. Idempotent.',
    request: z.object({ bootId: serviceBootId }),
    reply: z.object({}),
    errnos: ['EREMCHG', 'EAGAIN'],
    priority: 1,
    longPoll: true,
    timeoutMs: 12_000,
  }),
  unbind: rpc({
    callers: ['ipc'],
    summary:
      'Nameserver: the manager says that the name of an object is gone, or with `perm` that its rights changed. Idempotent.',
    request: z.object({
      id: ipcId,
      perm: ipcPerm.optional(),
      /** The object stays for who has it open. */
      nameOnly: z.boolean().optional(),
    }),
    reply: z.object({}),
    errnos: ['EREMCHG', 'EAGAIN'],
    priority: 2,
    longPoll: true,
    timeoutMs: 12_000,
  }),
  exists: rpc({
    callers: ['ipc'],
    summary:
      'Manager: whether this life of it has that object. What the cache says is verified so.',
    request: z.object({ id: ipcId, bootId: serviceBootId }),
    reply: z.object({ here: z.boolean() }),
    errnos: [],
    priority: 2,
    timeoutMs: 2_000,
  }),
  rebuild: rpc({
    callers: ['ipc'],
    summary:
      'Manager: all objects it has, for the nameserver of `epoch`; with its answer it promises to use no binding of an older one. ESTALE: it answered a newer one.',
    request: z.object({
      epoch: transId,
      /** Only greater ids; the first call has 0. */
      after: z.int().min(0),
    }),
    reply: z.object({
      bootId: serviceBootId,
      /** By id; `more`: there are greater ones. */
      bindings: z.array(ipcBinding),
      more: z.boolean(),
      /** The greatest id that it has ever heard of. */
      lastId: z.int().min(0),
    }),
    errnos: ['ESTALE'],
    priority: 2,
    timeoutMs: 10_000,
  }),
  operate: rpc({
    callers: ['ipc'],
    summary:
      'Manager: a call of an object that it has. EREMCHG: it has it no more or not yet; `node` is where it went. Not idempotent; run once by ICS.',
    request: z.object({
      id: ipcId,
      owner: ipcOwner,
      cred: ipcCred,
      request: ipcRequest,
      waitMs: z.int().min(0).optional(),
    }),
    reply: ipcResult,
    errnos: [...ipcObjectErrnos, 'EREMCHG', 'ESRCH'],
    calls: ['ipc.unbind'],
    priority: 1,
    longPoll: true,
    timeoutMs: 60_000,
  }),
  ended: message({
    callers: ['ipc'],
    summary: 'Agent to managers: a session has ended, nothing comes of it any more.',
    request: z.object({ session: ipcSession }),
    reply: z.undefined(),
    priority: 1,
  }),
  tell: message({
    callers: ['ipc'],
    summary: 'Manager to agent: a queue has something to notify.',
    request: z.object({ session: ipcSession, handle: z.int() }),
    reply: z.undefined(),
    priority: 1,
  }),
});
