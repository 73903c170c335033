// Contract of services/dlm, the lock manager. Clients talk to the DLM of one node, which keeps their locks
// (their agent); agents talk to the master of a resource, found through its directory node. v1: first version.
// [VMS DLM; libdlm: dlm_lock(3), dlm_unlock(3)]
import { z } from 'zod';
import { defineContract, message, rpc } from './contract.ts';
import { nodeNum, pid, transId } from './ids.ts';
import { lockFlag, lockMode } from './lock.ts';
import { rendezvous } from './rendezvous.ts';
import { serviceOps, upMembers, type View } from './service.ts';

/** 1-64 bytes UTF-8, unique in its lockspace. [DLM_RESNAME_MAXLEN] */
export const resourceName = z
  .string()
  .min(1)
  .refine((name) => new TextEncoder().encode(name).length <= 64, 'longer than 64 bytes')
  .refine((name) => !name.includes('\0'), 'NUL is not for names');
/** A namespace of resources; it exists for as long as somebody names it. [dlm_create_lockspace(3)] */
export const lockspaceName = z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/);

/** A resource by both its names, as the services key it. */
export const resourceKey = z
  .string()
  .min(3)
  .max(64 + 65 * 8);
/** `parents`: the names of those that it is under, the uppermost first. */
export const keyOf = (
  lockspace: string,
  resource: string,
  parents: readonly string[] = [],
): string => `${lockspace}/${[...parents, resource].join('\0')}`;
/** So many resources one under another, the first included. */
export const lockDepthMax = 8;
/** Of a resource under another: the same name under two is two resources. [VMS: parent id] */
export const childKeyOf = (parent: string, resource: string): string => `${parent}\0${resource}`;
/** The names from the lockspace's own resource down. */
export const pathOf = (key: string): string[] => key.slice(key.indexOf('/') + 1).split('\0');

/** Who keeps which node is master of a resource: by rendezvous hash of the UP members. undefined: nobody is UP. */
export const directoryOf = (view: View, key: string): number | undefined =>
  rendezvous(
    `dlm:${key}`,
    upMembers(view).map((m) => m.num),
  );

/** A value block, 64 bytes at most; what is missing is zeros. */
export const lockValue = z.custom<Uint8Array>(
  (v) => v instanceof Uint8Array && v.length <= 64,
  'at most 64 bytes',
);

/** transid x 2^35 + n, 63 bits, decimal. Compare as BigInt. */
export const fencingToken = z.string().regex(/^[0-9]{1,19}$/);

/** One client of the lock manager: 16 random hex digits that it chooses. */
export const lockSession = z.string().regex(/^[0-9a-f]{16}$/);
/**
 * Transaction: locks with the same xid, of whatever session and node, belong to one that does one thing at
 * a time, so that it is known to be stuck while one of them waits. [OpenDLM; libdlm: dlm_ls_lockx(3)]
 */
export const lockXid = z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/);
/** A lock of a session, a number that the client chooses: used once. */
export const lockRef = z.int().min(1);

const byte = z.int().min(0);
/** Bytes of a resource. [fcntl(2): struct flock] */
export const lockRange = z.object({
  /** none: given up. */
  type: z.enum(['read', 'write', 'none']),
  /** First byte. */
  start: byte,
  /** Bytes; 0: to the end, however far that comes to be. */
  length: byte,
});
export type LockRange = z.infer<typeof lockRange>;
/** A range somebody has. */
export const heldRange = z.object({
  type: z.enum(['read', 'write']),
  ...{ start: byte, length: byte },
  lkid: z.int(),
  pid: pid.optional(),
});

/** Pieces that one owner of byte ranges may have of a resource; beyond that ENOLCK. */
export const rangesMax = 1_000;
/** In order, apart from each other; from `start` to before `end`. */
const segments = z
  .array(z.object({ start: byte, end: byte, write: z.boolean() }))
  .max(rangesMax)
  .optional();

/** Of a lock, what only its agent knows. */
const lockCopy = z.object({
  lkid: z.int().min(1),
  valueSeq: z.int().min(0),
  valueKnown: z.boolean(),
  ranges: segments,
});

export const lockGrant = z.object({
  mode: lockMode,
  /** Of a mode that may write (CW, PW, EX): greater than every earlier one of the resource. Holders of CW that hold together share theirs. */
  token: fencingToken.optional(),
  /** With VALBLK, where the table of value blocks says that it is read. */
  value: lockValue.optional(),
  /** The value block cannot be relied upon: the last one that could write it died. [SBF_VALNOTVALID] */
  valueInvalid: z.boolean(),
  /** In the mode of ALTPR or ALTCW instead. [SBF_ALTMODE] */
  altMode: z.boolean().optional(),
  /** CONVDEADLK took the former mode away meanwhile. [SBF_DEMOTED] */
  demoted: z.boolean().optional(),
  /** For the client to keep: what the next life of the lock manager is told of the lock (`resume`). */
  copy: lockCopy.optional(),
  /** Of a `test`: what of another owner is in the way. */
  inTheWay: heldRange.optional(),
});
export type LockGrant = z.infer<typeof lockGrant>;

const lockErrnos = [
  'EAGAIN',
  'EBUSY',
  'ECANCELED',
  'EDEADLK',
  'EEXIST',
  'EINVAL',
  'ENOENT',
  'ENOLCK',
  'EOPNOTSUPP',
  'EREMCHG',
  'ESRCH',
  'ETIMEDOUT',
] as const;

/** A lock of a node at the master: number of the node x 2^40 + a number that the node counts. */
const lkid = z.int().min(1);
/** Number of the operation on that lock, from 1: makes a repetition known as one. */
const opNum = z.int().min(1);
const flagBits = z.int().min(0);
const tokenParts = z.object({ transid: transId, n: z.int().min(1) });

/** What came of an operation at the master. */
export const lockOutcome = z.discriminatedUnion('state', [
  z.object({
    state: z.literal('granted'),
    mode: lockMode,
    token: tokenParts.optional(),
    value: lockValue.optional(),
    valueSeq: z.int().min(0),
    valueInvalid: z.boolean(),
    altMode: z.boolean(),
    demoted: z.boolean(),
    inTheWay: heldRange.optional(),
  }),
  z.object({ state: z.literal('queued') }),
  z.object({
    state: z.literal('refused'),
    errno: z.enum(['EAGAIN', 'EDEADLK', 'ECANCELED', 'ETIMEDOUT', 'EINVAL', 'EBUSY']),
    detail: z.string(),
  }),
]);
export type LockOutcome = z.infer<typeof lockOutcome>;

/** A lock as the search for deadlocks sees it. */
const seenLock = z.object({
  lkid,
  op: opNum,
  xid: lockXid.optional(),
  held: lockMode.optional(),
  requested: lockMode.optional(),
  flags: flagBits,
  /** Since its operation came in at this master; 0: nothing is pending. */
  waitedMs: z.number().min(0),
});

/**
 * One life of the lock manager of a node: boot count of the node x 2^20 + a number that counts its starts from
 * 1. A multiple of 2^20 stands for none: every life below it is over. What comes from one that is over is ESTALE.
 */
const life = z.int().min(1);
/** The newest lives of lock managers that a node knows of. */
const lives = z.array(z.object({ node: nodeNum, life })).max(1_023);
/** The first token of a mastership names it: of two for one resource the greater one is the newer. */
const blockOf = z.object({ transid: transId, first: z.int(), last: z.int() });
const locksMoved = 1_000;
/** What only the master of a resource knows beside its locks, for the next one. */
const movedValue = z.object({
  value: lockValue.optional(),
  valueSeq: z.int().min(0),
  valueInvalid: z.boolean(),
  /** Who may write the value block now: where that one dies on the way it is not valid. */
  writer: lkid.optional(),
});
export type MovedValue = z.infer<typeof movedValue>;
/** What a directory node goes by while it hears all others. */
const roundOf = z.object({
  life,
  /** Counts its rounds. */
  round: z.int().min(1),
  transid: transId,
  /** Who is UP in that view: who goes by another set answers EAGAIN. */
  up: z.array(nodeNum).max(1_023),
  lives,
});

export const lockInfo = z.object({
  lkid,
  node: nodeNum,
  session: lockSession.optional(),
  pid: pid.optional(),
  /** What the client called itself. */
  label: z.string().optional(),
  xid: lockXid.optional(),
  granted: lockMode.optional(),
  requested: lockMode.optional(),
  /** Its owner is gone; it was PERSISTENT. */
  orphan: z.boolean().optional(),
  token: fencingToken.optional(),
});
export const resourceInfo = z.object({
  lockspace: z.string(),
  resource: z.string(),
  /** Names of those that it is under, the uppermost first. */
  parents: z.array(z.string()).optional(),
  master: nodeNum,
  directory: nodeNum.optional(),
  /** Rebuilding after a loss: nothing is granted now. */
  recovering: z.boolean(),
  valueInvalid: z.boolean(),
  granted: z.array(lockInfo),
  converting: z.array(lockInfo),
  waiting: z.array(lockInfo),
  /** Byte ranges that are held, and those that wait for one. */
  ranges: z.array(heldRange.extend({ waits: z.boolean() })).optional(),
});
export type ResourceInfo = z.infer<typeof resourceInfo>;

export const dlm = defineContract('dlm', 1, {
  ...serviceOps,
  lock: rpc({
    callers: ['operate', 'service@node'],
    summary:
      'Asks for a lock, or with `convert` for another mode of one; answered when it is granted or refused. EAGAIN NOQUEUE and not free; EDEADLK it is in a deadlock and was the one to give way (a conversion keeps its mode); ECANCELED cancelled; ETIMEDOUT waited waitMs; EBUSY it waits already; EINVAL flags; ENOENT no such lock to convert; ENOLCK too many pieces of byte ranges; EEXIST that ref is in use; ESRCH the session is over; with ORPHAN: EAGAIN orphans of other modes only, ENOENT none of this node. Idempotent by (session, ref, op).',
    request: z.object({
      session: lockSession,
      ref: lockRef,
      /** Counts the operations of this lock from 1: the first asks for it, later ones convert. */
      op: opNum,
      lockspace: lockspaceName,
      resource: resourceName,
      /** A granted lock of the session: the resource is one under that lock's. EINVAL it is none, or too deep. */
      parent: lockRef.optional(),
      mode: lockMode,
      flags: z.array(lockFlag).max(16).optional(),
      /** With VALBLK: what a conversion down writes. */
      value: lockValue.optional(),
      /** Longest wait in a queue, ms; absent: for ever. NOQUEUE does not wait. */
      waitMs: z.int().min(0).optional(),
      /** For the search for deadlocks over several resources; absent: this lock alone. */
      xid: lockXid.optional(),
      /** Bytes of the resource for a lock that is held, which keeps its mode: name that one. EAGAIN with NOQUEUE. */
      range: lockRange.optional(),
      /** Only looks whether the range could be had. [F_GETLK] */
      test: z.boolean().optional(),
      /** The owner wants to hear what it blocks (`asts`). */
      bast: z.boolean().optional(),
    }),
    reply: lockGrant,
    errnos: lockErrnos,
    calls: ['dlm.lookup', 'dlm.ask'],
    longPoll: true,
    timeoutMs: 60_000,
  }),
  unlock: rpc({
    callers: ['operate', 'service@node'],
    summary:
      'Gives a lock up, also one with PERSISTENT; from PW and EX with VALBLK the value block is written. EBUSY it waits (cancel, or `force`), or locks under it are left (`force` gives them up); ENOENT no such lock (it may be given up already). Idempotent.',
    request: z.object({
      session: lockSession,
      ref: lockRef,
      flags: z.array(z.enum(['VALBLK', 'IVVALBLK'])).optional(),
      value: lockValue.optional(),
      force: z.boolean().optional(),
    }),
    reply: z.object({}),
    errnos: ['EBUSY', 'ENOENT', 'EREMCHG', 'ESRCH'],
    calls: ['dlm.release'],
    timeoutMs: 30_000,
  }),
  cancel: rpc({
    callers: ['operate', 'service@node'],
    summary:
      'Withdraws what a lock waits for, which then ends with ECANCELED; a conversion keeps its mode. EBUSY: nothing is pending, it may just have been granted; ENOENT no such lock.',
    request: z.object({ session: lockSession, ref: lockRef }),
    reply: z.object({}),
    errnos: ['EBUSY', 'ENOENT', 'EREMCHG', 'ESRCH'],
    calls: ['dlm.release'],
    timeoutMs: 30_000,
  }),
  asts: rpc({
    callers: ['operate', 'service@node'],
    summary:
      'Waits for blocking ASTs of the session, and keeps it: one that is not heard of for `sessionMs` is over and its locks are given up. Answered empty after a while. ESRCH: the session is over, its locks are lost. The first call opens it.',
    request: z.object({
      session: lockSession,
      /** True for the first call only: a session that is over is not opened again by its client unnoticed. */
      open: z.boolean().optional(),
      /** Process of this node that the locks belong to: they go when it ends. */
      pid: pid.optional(),
      /** For people: who this is. */
      label: z.string().max(128).optional(),
      /** Answers only what came after this number. */
      after: z.int().min(0),
    }),
    reply: z.object({
      sessionMs: z.int(),
      blocking: z.array(z.object({ seq: z.int(), ref: lockRef, mode: lockMode })),
    }),
    errnos: ['EREMCHG', 'ESRCH', 'EAGAIN'],
    longPoll: true,
    timeoutMs: 30_000,
  }),
  resume: rpc({
    callers: ['operate', 'service@node'],
    summary:
      'To a lock manager that was started again, which says EREMCHG to what comes from a session of its former life: the locks that its client holds, in as many calls as it takes. It serves when all sessions are there, or 10 s after its start. ESRCH: the session is over, its locks are lost.',
    request: z.object({
      session: lockSession,
      pid: pid.optional(),
      label: z.string().max(128).optional(),
      locks: z
        .array(
          z.object({
            ref: lockRef,
            /** The newest operation that is over. */
            op: opNum,
            lockspace: lockspaceName,
            resource: resourceName,
            /** The lock that it is under, which comes before it, also where the pages of a list part them. */
            parent: lockRef.optional(),
            /** Names of the resources that its own is under, the uppermost first. */
            parents: z
              .array(resourceName)
              .max(lockDepthMax - 1)
              .optional(),
            mode: lockMode,
            token: fencingToken.optional(),
            value: lockValue.optional(),
            copy: lockCopy,
            bast: z.boolean(),
            persistent: z.boolean(),
            xid: lockXid.optional(),
            /**
             * A conversion down that was asked for, or an unlock (no mode): it counts as done, with its value. Of a
             * range, what would be given up or made weaker counts as that. What goes with a parent says so itself.
             */
            giving: z
              .object({
                mode: lockMode.optional(),
                flags: z.array(lockFlag).max(16),
                value: lockValue.optional(),
                range: lockRange.optional(),
              })
              .optional(),
          }),
        )
        .max(500),
      more: z.boolean(),
    }),
    reply: z.object({ sessionMs: z.int() }),
    errnos: ['ESRCH', 'EAGAIN'],
    timeoutMs: 10_000,
  }),
  close: rpc({
    callers: ['operate', 'service@node'],
    summary:
      'Ends a session: its locks are given up, but for PERSISTENT ones, which are orphans then. Idempotent.',
    request: z.object({ session: lockSession }),
    reply: z.object({}),
    errnos: [],
    calls: ['dlm.release'],
    timeoutMs: 30_000,
  }),
  list: rpc({
    callers: ['read'],
    summary: 'The resources that this node is master of, with their locks.',
    request: z.object({
      lockspace: lockspaceName.optional(),
      /** In the order of their keys, those after this one. */
      after: resourceKey.optional(),
    }),
    reply: z.object({
      resources: z.array(resourceInfo),
      /** There are more: ask for those after the last of these. */
      truncated: z.boolean(),
      /** Locks of this node whose owner is gone, wherever they are mastered. */
      orphans: z.array(lkid).optional(),
    }),
    errnos: [],
  }),
  purge: rpc({
    callers: ['operate', 'service@node'],
    summary:
      'Gives up the orphans of this node in a lockspace; value blocks that they could write are not valid then. Idempotent. [dlm_ls_purge(3)]',
    request: z.object({
      lockspace: lockspaceName,
      /** Only those of this process; absent: all. */
      pid: pid.optional(),
    }),
    reply: z.object({ purged: z.int().min(0) }),
    errnos: [],
    calls: ['dlm.release'],
    timeoutMs: 30_000,
  }),
  lookup: rpc({
    callers: ['dlm'],
    summary:
      'Directory: which node is master of a resource; the asker becomes it where there is none, and gets a block of fencing tokens. EREMCHG: another node is the directory. EAGAIN: its directory is being rebuilt, ask again. ESTALE: that life of the asker is over.',
    request: z.object({
      life,
      key: resourceKey,
      transid: transId,
      tokensOnly: z.boolean().optional(),
    }),
    reply: z.object({
      master: nodeNum,
      life,
      /** Its first token names the mastership. */
      since: tokenParts.optional(),
      /** For a new master, and with `tokensOnly`. */
      tokens: blockOf.optional(),
      /** A new master grants nothing before it has from these what they hold. */
      recover: z.array(nodeNum).optional(),
      /** The former master died: what the value block held is not known. */
      valueLost: z.boolean().optional(),
      /** The former master gave it up to the asker. */
      moved: movedValue.optional(),
    }),
    errnos: ['EREMCHG', 'EAGAIN', 'ESTALE'],
    priority: 1,
  }),
  moving: rpc({
    callers: ['dlm'],
    summary:
      'Master to a node that holds locks there: this mastership is over, and the next master comes for what is held, as after a loss. Idempotent. ESTALE: that life of the asker is over; EAGAIN: still starting.',
    request: z.object({ life, key: resourceKey, since: tokenParts }),
    reply: z.object({}),
    errnos: ['EAGAIN', 'ESTALE'],
    priority: 1,
  }),
  yield: rpc({
    callers: ['dlm'],
    summary:
      'Master to the directory: it gives the resource up to the node that uses it most; all that hold locks there know it (`moving`). The asker grants nothing any more, and is master until the answer. EAGAIN: the directory is being rebuilt; EREMCHG: another node is the directory; ESTALE: that life of the asker is over. Idempotent.',
    request: z.object({
      life,
      key: resourceKey,
      transid: transId,
      /** The name of the mastership that is given up. */
      since: tokenParts,
      to: nodeNum,
      /** Nodes that hold locks there. */
      users: z.array(nodeNum).max(1_023),
      moved: movedValue,
    }),
    reply: z.object({
      /** What is said of older masterships than this is worth nothing to the asker. */
      since: tokenParts,
    }),
    errnos: ['EREMCHG', 'EAGAIN', 'ESTALE'],
    priority: 1,
  }),
  named: rpc({
    callers: ['dlm'],
    summary:
      'Directory to a node: it became master of a resource, and is to ask (`lookup`) for the rest. EAGAIN: it could not yet. Idempotent.',
    request: z.object({ life, key: resourceKey }),
    reply: z.object({}),
    errnos: ['EAGAIN', 'ESTALE'],
    calls: ['dlm.lookup'],
    priority: 1,
  }),
  forget: rpc({
    callers: ['dlm'],
    summary: 'Directory: its master gives a resource up that nobody uses. Idempotent.',
    request: z.object({ life, key: resourceKey }),
    reply: z.object({}),
    errnos: ['EAGAIN', 'ESTALE'],
    priority: 1,
  }),
  ask: rpc({
    callers: ['dlm'],
    summary:
      'Master: a request or conversion of a lock of the asking node. `queued`: the outcome follows by `told`. EREMCHG: not the master. Idempotent by (lkid, op).',
    request: z.object({
      life,
      key: resourceKey,
      lkid,
      op: opNum,
      convert: z.boolean(),
      mode: lockMode,
      flags: flagBits,
      value: lockValue.optional(),
      range: lockRange.optional(),
      test: z.boolean().optional(),
      bast: z.boolean(),
      who: z.object({
        session: lockSession,
        pid: pid.optional(),
        label: z.string().optional(),
        xid: lockXid.optional(),
      }),
    }),
    reply: lockOutcome,
    errnos: ['EREMCHG', 'EAGAIN', 'ESTALE'],
    priority: 1,
    longPoll: true,
  }),
  release: rpc({
    callers: ['dlm'],
    summary:
      'Master: unlock, or with `cancel` the end of what is pending. EREMCHG: not the master. EBUSY: see unlock and cancel. Idempotent.',
    request: z.object({
      life,
      key: resourceKey,
      lkid,
      op: opNum,
      cancel: z.enum(['ECANCELED', 'ETIMEDOUT', 'EDEADLK']).optional(),
      flags: flagBits,
      value: lockValue.optional(),
      force: z.boolean(),
      /** Its owner died: the value block is not valid where it could write it. */
      died: z.boolean().optional(),
    }),
    reply: z.object({}),
    errnos: ['EREMCHG', 'EBUSY', 'ENOENT', 'EAGAIN', 'ESTALE'],
    priority: 1,
    longPoll: true,
  }),
  told: message({
    callers: ['dlm'],
    summary: 'Master to agent: the outcome of an operation that was queued, or a blocking AST.',
    request: z.object({
      life,
      lkid,
      op: opNum,
      outcome: lockOutcome.optional(),
      blocking: lockMode.optional(),
    }),
    reply: z.undefined(),
    priority: 1,
  }),
  suspect: message({
    callers: ['dlm'],
    summary: 'To the node that looks for deadlocks: something waits for long here.',
    request: z.object({}),
    reply: z.undefined(),
    calls: ['dlm.waits', 'dlm.release'],
    priority: 1,
  }),
  waits: rpc({
    callers: ['dlm'],
    summary:
      'Master: its resources where something waits, with their locks in the order of their queues.',
    request: z.object({
      /** In the order of their keys, those after this one. */
      after: resourceKey.optional(),
    }),
    reply: z.object({
      resources: z.array(
        z.object({
          key: resourceKey,
          granted: z.array(seenLock),
          converting: z.array(seenLock),
          waiting: z.array(seenLock),
          /** Who waits for a byte range, by lkid, and those in its way. */
          ranges: z.array(z.object({ lkid, blockers: z.array(lkid) })).optional(),
        }),
      ),
      more: z.boolean().optional(),
    }),
    errnos: [],
    priority: 1,
  }),
  census: rpc({
    callers: ['dlm'],
    summary:
      'Asked by a directory node, first: the resources that this node is master of and the asker keeps, in order, those after `after`. EAGAIN: another view, or still starting. ESTALE: that life of the asker is over.',
    request: roundOf.extend({ after: z.string().optional() }),
    reply: z.object({
      life,
      lives,
      masters: z.array(z.object({ key: resourceKey, tokens: blockOf })),
      more: z.boolean(),
    }),
    errnos: ['EAGAIN', 'ESTALE'],
    priority: 1,
    timeoutMs: 10_000,
  }),
  lost: rpc({
    callers: ['dlm'],
    summary:
      'Asked by a directory node, when it has heard all masters: the resources that this node uses, of which the master is none of the lives that the asker goes by, in order, those after `after`. EAGAIN: another view, a nodedown step that has not come, or newer lives, which are in `census` then.',
    request: roundOf.extend({ after: z.string().optional() }),
    reply: z.object({
      life,
      /** With how many locks are held. */
      lost: z.array(z.object({ key: resourceKey, held: z.int().min(0) })),
      more: z.boolean(),
    }),
    errnos: ['EAGAIN', 'ESTALE'],
    priority: 1,
    timeoutMs: 10_000,
  }),
  remaster: rpc({
    callers: ['dlm'],
    summary:
      'Directory to a node: it is master of these from now on, or was all along, and is to fetch what the nodes of `recover` hold before it grants more. EREMCHG: not the directory by the view here, or of a former round. Idempotent.',
    request: z.object({
      life,
      round: z.int().min(1),
      resources: z
        .array(
          z.object({ key: resourceKey, tokens: blockOf, recover: z.array(nodeNum).max(1_023) }),
        )
        .max(locksMoved),
    }),
    reply: z.object({}),
    errnos: ['EREMCHG', 'EAGAIN', 'ESTALE'],
    priority: 1,
    timeoutMs: 10_000,
  }),
  rebuild: rpc({
    callers: ['dlm'],
    summary:
      'A new master fetches the locks that this node holds on resources; from the answer on the asker is their master for it. ESTALE: there is a newer master, or that life of the asker is over. Idempotent.',
    request: z.object({
      life,
      resources: z
        .array(
          z.object({
            key: resourceKey,
            since: tokenParts,
            /** The greatest that is known: those after it. */
            after: lkid.optional(),
          }),
        )
        .min(1)
        .max(locksMoved),
    }),
    reply: z.object({
      life,
      /** In the order of the request, each by lkid; of as many of them as one message carries. */
      locks: z.array(
        z.array(
          z.object({
            lkid,
            op: opNum,
            mode: lockMode,
            bast: z.boolean(),
            token: tokenParts.optional(),
            value: lockValue.optional(),
            valueSeq: z.int().min(0),
            /** The present grant read or was about to write the value block. */
            valueKnown: z.boolean(),
            ranges: segments,
            who: z.object({
              session: lockSession,
              pid: pid.optional(),
              label: z.string().optional(),
              xid: lockXid.optional(),
            }),
          }),
        ),
      ),
      /** The last of these has more locks. */
      more: z.boolean().optional(),
    }),
    errnos: ['EAGAIN', 'ESTALE'],
    priority: 1,
    timeoutMs: 10_000,
  }),
});
