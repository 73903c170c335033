// Contract of an actor host: the process of a node in which actors run (libs/client). An actor is a
// process of the cluster with a pid: vproc starts, signals and moves it with the operations here, its
// senders deliver to it directly. One host for each node. v1: first version.
import { z } from 'zod';
import { defineContract, rpc } from './contract.ts';
import { nodeNum, pid } from './ids.ts';
import { serviceOps } from './service.ts';

/** Name of a definition: the same on every node that can run it. */
export const actorType = z.string().regex(/^[A-Za-z][A-Za-z0-9._-]{0,63}$/);

/** Who sends: one life of one client handle. It numbers what it sends to each actor from 1. */
export const actorSender = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/);

/** An event of the actor's machine: JSON (or msgpack), 256 KiB at most. */
export const actorEvent = z.looseObject({ type: z.string().min(1).max(256) });
export type ActorEvent = z.infer<typeof actorEvent>;

/** Which user of the number: another one for each start and each arrival of an actor on a node. */
const birth = z.int().min(0);
const moveId = z.string().regex(/^[0-9a-f]{32}$/);
const bytes = z.custom<Uint8Array>((v) => v instanceof Uint8Array);

/** Bytes of an image in one `freeze` or `install`: well below a frame's 512 KiB. */
export const actorPieceMax = 262_144;
/** An actor's whole image, bytes: state, mailbox and replies that may be asked for again. */
export const actorImageMax = 64 * 1024 * 1024;

export const actorInfo = z.object({
  pid,
  birth,
  type: actorType,
  /** stopped: by a signal; frozen: for a move, or not yet resumed after one. */
  state: z.enum(['running', 'stopped', 'frozen']),
  uid: z.int().min(0),
  /** Events that wait. */
  mailbox: z.int().min(0),
});
export type ActorInfo = z.infer<typeof actorInfo>;

/** How an actor ended: its machine's final state is code 0, a signal is named as in `exitStatus`. */
export const actorExit = z.object({
  pid,
  birth,
  code: z.int().min(0).max(255).nullable(),
  signal: z.string().nullable(),
});
export type ActorExit = z.infer<typeof actorExit>;

export const actor = defineContract('actor', 1, {
  ...serviceOps,
  create: rpc({
    callers: ['vproc@node'],
    summary:
      'vproc to host: starts an actor under this pid. ENOENT: no such type here; EEXIST: the pid runs here already; EINVAL: its machine does not start with this input.',
    request: z.object({ pid, birth, type: actorType, input: z.unknown(), uid: z.int().min(0) }),
    reply: z.object({}),
    errnos: ['ENOENT', 'EEXIST', 'EINVAL', 'ESHUTDOWN'],
    priority: 1,
  }),
  deliver: rpc({
    callers: ['operate'],
    summary:
      'An event for the actor. `ask` answers with the reply of the step that takes it, `send` when the event is in the mailbox. Exactly once and in order by (sender, seq): a number that was taken before answers as it did then, whatever node the actor was on. ESRCH: not here, ask its origin; EREMCHG: it moved to that node; EAGAIN: mailbox full, or an earlier number is missing; ENOSYS: the step gave no reply; ESTALE: the number is below `lowWater`, its reply is forgotten.',
    request: z.object({
      pid,
      sender: actorSender,
      seq: z.int().min(1),
      /** Everything below is finished at the sender: replies are forgotten, gaps are skipped. */
      lowWater: z.int().min(1),
      kind: z.enum(['ask', 'send']),
      event: actorEvent,
    }),
    reply: z.object({ value: z.unknown() }),
    errnos: ['ESRCH', 'EREMCHG', 'EAGAIN', 'ENOSYS', 'ESTALE'],
    longPoll: true,
    timeoutMs: 10_000,
  }),
  fork: rpc({
    callers: ['vproc@node'],
    summary:
      'vproc to host: another actor as this one is between two events, frozen: its state and its timers with the time they have left, an empty mailbox. Idempotent. ESRCH: not here; EBUSY: it stands between two nodes; EEXIST: the child’s pid runs here.',
    request: z.object({ pid, birth, child: z.object({ pid, birth }) }),
    reply: z.object({ info: actorInfo }),
    errnos: ['ESRCH', 'EBUSY', 'EEXIST', 'ESHUTDOWN'],
    priority: 1,
  }),
  freeze: rpc({
    callers: ['vproc@node'],
    summary:
      'vproc to host: the actor takes nothing from its mailbox from now on; a piece of its image. Idempotent by moveId. EBUSY: frozen for another move.',
    request: z.object({
      pid,
      birth,
      moveId,
      /** Node it moves to: told to its senders once this copy is destroyed. */
      to: nodeNum.optional(),
      offset: z.int().min(0),
    }),
    reply: z.object({ data: bytes, totalBytes: z.int().min(0), stopped: z.boolean() }),
    errnos: ['ESRCH', 'EBUSY', 'EMSGSIZE'],
    priority: 1,
  }),
  install: rpc({
    callers: ['vproc@node'],
    summary:
      'vproc to host: a piece of an image; with the last one the actor is here, frozen. Idempotent. ENOENT: no such type here; EBADMSG: not an image; EEXIST: the pid runs here.',
    request: z.object({
      pid,
      birth,
      moveId,
      offset: z.int().min(0),
      totalBytes: z.int().min(0).max(actorImageMax),
      data: bytes,
    }),
    reply: z.object({
      /** With the last piece: what is here now. */
      info: actorInfo.optional(),
    }),
    errnos: ['ENOENT', 'EBADMSG', 'EEXIST', 'ERANGE', 'ESHUTDOWN'],
    priority: 1,
  }),
  resume: rpc({
    callers: ['vproc@node'],
    summary:
      'vproc to host: a frozen actor goes on, timers with the time they had left. Idempotent. One that was stopped before stays stopped.',
    request: z.object({ pid, birth }),
    reply: z.object({}),
    errnos: ['ESRCH'],
    priority: 1,
  }),
  destroy: rpc({
    callers: ['vproc@node'],
    summary:
      'vproc to host: this copy is no more, without an end to tell. Who waits for it here is sent to where it went, else to its origin. Idempotent.',
    request: z.object({ pid, birth }),
    reply: z.object({}),
    errnos: [],
    priority: 1,
  }),
  signal: rpc({
    callers: ['vproc@node'],
    summary:
      'vproc to host: SIGSTOP and its kin stop it, SIGCONT lets it go on, SIGCHLD, SIGURG and SIGWINCH are ignored, any other ends it. EAGAIN: frozen for a move.',
    request: z.object({ pid, birth, signal: z.int().min(1).max(64) }),
    reply: z.object({}),
    errnos: ['ESRCH', 'EAGAIN'],
    priority: 1,
  }),
  list: rpc({
    callers: ['vproc@node'],
    summary: 'What runs here, what could, and the ends that vproc has not taken yet.',
    request: z.object({}),
    reply: z.object({
      types: z.array(actorType),
      actors: z.array(actorInfo),
      exits: z.array(actorExit),
    }),
    errnos: [],
    priority: 1,
  }),
});
