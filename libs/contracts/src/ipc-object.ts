// What is asked of one IPC object and what it answers: the calls of the manual pages as data. The objects
// themselves (services/ipc-nameserver) take these and nothing else. [svipc(7), mq_overview(7), sem_overview(7), pipe(7)]
import { z } from 'zod';
import { endpointNode } from './ids.ts';

/** msg, sem: System V; mq, psem: POSIX; fifo: pipes too, which have no name. */
export const ipcTypes = ['msg', 'sem', 'mq', 'psem', 'fifo'] as const;
export const ipcType = z.enum(ipcTypes);
export type IpcType = z.infer<typeof ipcType>;

/** epoch x 2^24 + n: never used twice. */
export const ipcId = z.int().min(1);
export const ipcBytes = z.custom<Uint8Array>((v) => v instanceof Uint8Array, 'bytes');

export const ipcLimits = {
  /** Bytes of a System V message. [msgget(2): MSGMAX] */
  msgMax: 8_192,
  /** Bytes in a System V queue, and messages. [MSGMNB] */
  msgQueueBytes: 16_384,
  /** Semaphores in a set. [semget(2): SEMMSL] */
  semSetMax: 32_000,
  /** Operations of one semop. [SEMOPM] */
  semOpsMax: 500,
  /** Greatest value of a System V semaphore, and of its undo. [SEMVMX, SEMAEM] */
  semValueMax: 32_767,
  /** [SEM_VALUE_MAX] */
  posixSemValueMax: 2_147_483_647,
  /** Priorities are below it. [mq_send(3): MQ_PRIO_MAX] */
  mqPriorityMax: 32_768,
  /** Of a POSIX queue for who is not root, and the default. [mq_overview(7): msg_max, msgsize_max] */
  mqMessages: 10,
  mqBytes: 8_192,
  /** For root. The bytes are what one call carries; Linux has 16 MiB. */
  mqMessagesMax: 65_536,
  mqBytesMax: 262_144,
  /** A write up to this is whole or not at all. [pipe(7): PIPE_BUF] */
  pipeAtomic: 4_096,
  /** Pages of a pipe: 64 KiB. */
  pipePages: 16,
  /** Bytes that one read or write carries; more is several. */
  pipeCallMax: 65_536,
} as const;

/** A user and group, as who asks or owns. */
export const ipcCred = z.object({ uid: z.int().min(0), gid: z.int().min(0) });
export type IpcCred = z.infer<typeof ipcCred>;

/** Who may what: owner and creator alike. [svipc(7): ipc_perm] */
export const ipcPerm = z.object({
  uid: z.int().min(0),
  gid: z.int().min(0),
  cuid: z.int().min(0),
  cgid: z.int().min(0),
  /** Nine bits; x is not used. */
  mode: z.int().min(0).max(0o777),
});
export type IpcPerm = z.infer<typeof ipcPerm>;

/** How an object begins. What its type has no use for is not regarded. */
export const ipcAttributes = z.object({
  /** sem: semaphores of the set; 0 only to find one. */
  nsems: z.int().optional(),
  /** mq */
  maxMessages: z.int().optional(),
  messageBytes: z.int().optional(),
  /** psem: its value. */
  value: z.int().optional(),
});
export type IpcAttributes = z.infer<typeof ipcAttributes>;

export const semOp = z.object({
  num: z.int().min(0).max(65_535),
  op: z.int().min(-32_768).max(32_767),
  nowait: z.boolean().optional(),
  undo: z.boolean().optional(),
});
export type SemOp = z.infer<typeof semOp>;

/** An open end of a fifo, POSIX queue or semaphore: a number that its client chooses and uses once. */
const handle = z.int().min(1);

export const ipcRequest = z.discriminatedUnion('op', [
  z.object({
    op: z.literal('msgsnd'),
    type: z.int(),
    text: ipcBytes,
    nowait: z.boolean().optional(),
  }),
  z.object({
    op: z.literal('msgrcv'),
    /** Room for a text of so many bytes. */
    size: z.int(),
    /** 0 the first, n that type, -n the lowest up to n. */
    type: z.int(),
    nowait: z.boolean().optional(),
    noerror: z.boolean().optional(),
    except: z.boolean().optional(),
  }),
  z.object({ op: z.literal('semop'), ops: z.array(semOp) }),
  z.object({
    op: z.literal('semctl'),
    command: z.enum(['GETVAL', 'SETVAL', 'GETALL', 'SETALL', 'GETNCNT', 'GETZCNT']),
    num: z.int().optional(),
    values: z.array(z.int()).optional(),
  }),
  z.object({
    op: z.literal('open'),
    handle,
    read: z.boolean(),
    write: z.boolean(),
    nonblock: z.boolean().optional(),
  }),
  z.object({ op: z.literal('close'), handle }),
  z.object({ op: z.literal('setNonblock'), handle, nonblock: z.boolean() }),
  z.object({ op: z.literal('mqsend'), handle, text: ipcBytes, priority: z.int() }),
  z.object({ op: z.literal('mqreceive'), handle, size: z.int() }),
  /** Told once when a message comes to the empty queue and nobody waits for it; `on` false withdraws. */
  z.object({ op: z.literal('mqnotify'), handle, on: z.boolean() }),
  z.object({ op: z.literal('semwait'), handle, nowait: z.boolean().optional() }),
  z.object({ op: z.literal('sempost'), handle }),
  z.object({ op: z.literal('semgetvalue'), handle }),
  z.object({ op: z.literal('read'), handle, size: z.int().min(0) }),
  z.object({ op: z.literal('write'), handle, bytes: ipcBytes }),
  z.object({ op: z.literal('stat') }),
  z.object({
    op: z.literal('set'),
    uid: z.int().min(0).optional(),
    gid: z.int().min(0).optional(),
    mode: z.int().min(0).max(0o777).optional(),
    /** msg: its bytes. Above the default for root only. */
    queueBytes: z.int().min(0).optional(),
  }),
  /** IPC_RMID, mq_unlink, sem_unlink, unlink. POSIX objects and fifos stay for who has them open. */
  z.object({ op: z.literal('remove') }),
]);
export type IpcRequest = z.infer<typeof ipcRequest>;
export type IpcOp<K extends IpcRequest['op']> = Extract<IpcRequest, { op: K }>;

export const ipcStat = z.object({
  perm: ipcPerm,
  /** Messages, bytes or the value that it holds now. */
  holds: z.int(),
  bytes: z.int(),
  /** msg: its bound. */
  queueBytes: z.int().optional(),
  nsems: z.int().optional(),
  maxMessages: z.int().optional(),
  messageBytes: z.int().optional(),
  readers: z.int().optional(),
  writers: z.int().optional(),
  waiting: z.int(),
});
export type IpcStat = z.infer<typeof ipcStat>;

/** What a call gives; which of it depends on the operation. */
export const ipcResult = z.object({
  /** Bytes written. */
  n: z.int().optional(),
  text: ipcBytes.optional(),
  type: z.int().optional(),
  priority: z.int().optional(),
  value: z.int().optional(),
  values: z.array(z.int()).optional(),
  stat: ipcStat.optional(),
});
export type IpcResult = z.infer<typeof ipcResult>;

/** Every errno an object gives. */
export const ipcObjectErrnos = [
  'E2BIG',
  'EACCES',
  'EAGAIN',
  'EBADF',
  'EBUSY',
  'EFBIG',
  'EIDRM',
  'EINTR',
  'EINVAL',
  'EMSGSIZE',
  'ENOMSG',
  'ENOSPC',
  'ENXIO',
  'EOVERFLOW',
  'EPERM',
  'EPIPE',
  'ERANGE',
  'ETIMEDOUT',
] as const;
export type IpcErrno = (typeof ipcObjectErrnos)[number];

/** One client: the node whose manager keeps its session, and the session's 16 hex digits. */
export const ipcSession = z.string().regex(/^[0-9a-f]{16}$/);
export const ipcOwner = z.object({ node: endpointNode, session: ipcSession });
export type IpcOwner = z.infer<typeof ipcOwner>;
