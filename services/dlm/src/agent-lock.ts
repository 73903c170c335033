// A lock of a client of this node, as its agent knows it: the copy that a lost master is rebuilt from.
import {
  type dlm,
  fail,
  type LockGrant,
  type LockMode,
  type LockOutcome,
  type LockRange,
  ok,
  type Reply,
  type RequestOf,
} from '@ssi/contracts';
import { flag } from './flags.ts';
import type { Home } from './homes.ts';
import type { AskRequest } from './mastered.ts';
import { rank, writesValue } from './modes.ts';
import { lowered, type Segment } from './ranges.ts';
import type { Token } from './resource.ts';
import type { Session } from './sessions.ts';
import { tokenText } from './tokens.ts';

export type LockRequest = RequestOf<typeof dlm.ops.lock>;
export type LockErrno = (typeof dlm.ops.lock.errnos)[number];
export type LockReply = Reply<LockGrant, LockErrno>;

/** A lock of a client of this node. */
export interface AgentLock {
  readonly lkid: number;
  /** Of its owner; what they were before stays where it is an orphan. */
  ref: number;
  session: Session;
  who: AskRequest['who'];
  readonly home: Home;
  /** Survives its owner. [DLM_LKF_PERSISTENT] */
  readonly persistent: boolean;
  /** The lock that this one is under, and how many are under this one: all of one session. */
  parent: AgentLock | undefined;
  children: number;
  /** Operations of the owners before the present one, which counts its own from 1. */
  opsBefore: number;
  bast: boolean;
  granted: LockMode | undefined;
  token: Token | undefined;
  value: Uint8Array | undefined;
  valueSeq: number;
  valueKnown: boolean;
  /** Byte ranges it has. */
  ranges: readonly Segment[];
  /** The newest operation, and its reply once it is over. */
  op: number;
  reply: LockReply | undefined;
  /** Calls for that operation whose client has not given up. */
  callers: number;
  pending: Pending | undefined;
  /** Being given up, with what is to be written. */
  leaving: Giving | undefined;
}

/** How it is given up. */
export interface Giving {
  readonly flags: number;
  readonly value?: Uint8Array | undefined;
  /** Its owner died. */
  readonly died: boolean;
}

/** An operation that is not over. */
export interface Pending {
  readonly mode: LockMode;
  readonly flags: number;
  readonly value: Uint8Array | undefined;
  readonly range: LockRange | undefined;
  readonly test: boolean;
  /** Why it is withdrawn. */
  withdrawn: 'ECANCELED' | 'ETIMEDOUT' | undefined;
  /** The outcome; a grant is held from the moment that it is here. */
  told: LockOutcome | undefined;
  /** When it was queued, and when it is next said to wait for long; undefined: it is not queued. */
  long: { readonly sinceMs: number; nextMs: number } | undefined;
  /** Looks again: told, or the master was lost. */
  wake: () => void;
  readonly done: Promise<LockReply>;
}

export const newAgentLock = (
  q: Pick<AgentLock, 'lkid' | 'ref' | 'op' | 'session' | 'home' | 'persistent' | 'bast'>,
): AgentLock => ({
  ...q,
  ...{ who: q.session.who, opsBefore: 0, callers: 0, parent: undefined, children: 0, ranges: [] },
  ...{ granted: undefined, token: undefined, value: undefined, valueSeq: 0, valueKnown: false },
  ...{ reply: undefined, pending: undefined, leaving: undefined },
});

/** To its client: what came of an operation. */
export function replyOf(lock: AgentLock, outcome: LockOutcome): LockReply {
  if (outcome.state !== 'granted') {
    const errno = outcome.state === 'refused' ? outcome.errno : 'ECANCELED';
    const detail = outcome.state === 'refused' ? outcome.detail : '';
    return fail(errno, detail);
  }
  const { mode, token, value, valueInvalid, altMode, demoted } = outcome;
  return ok({
    mode,
    ...(token && { token: tokenText(token) }),
    ...(value && { value }),
    valueInvalid,
    ...(altMode && { altMode }),
    ...(demoted && { demoted }),
    copy: {
      ...{ lkid: lock.lkid, valueSeq: lock.valueSeq, valueKnown: lock.valueKnown },
      ...(lock.ranges.length > 0 && { ranges: [...lock.ranges] }),
    },
    ...(outcome.inTheWay && { inTheWay: outcome.inTheWay }),
  });
}

/** What is on its way down is down already, whoever its master is, with what it was to write. */
export function afterwards(
  lock: AgentLock,
  granted: LockMode,
  on: { mode?: LockMode | undefined; flags: number; value?: Uint8Array | undefined } | undefined,
): Pick<AgentLock, 'value' | 'valueSeq' | 'valueKnown'> & { mode: LockMode } {
  const { value, valueSeq, valueKnown } = lock;
  if (!on) return { mode: granted, value, valueSeq, valueKnown };
  const to = on.mode ?? 'NL';
  // PR and CW cover CR both, and which of them it has now only the lost master knew.
  const sideways = (granted === 'PR' && to === 'CW') || (granted === 'CW' && to === 'PR');
  const mode = sideways ? 'CR' : rank[to] < rank[granted] ? to : granted;
  const writes = rank[to] <= rank[granted] && writesValue(granted);
  if (writes && on.flags & flag.VALBLK && on.value)
    return { mode, value: on.value, valueSeq: valueSeq + 1, valueKnown: true };
  return { mode, value, valueSeq, valueKnown: valueKnown || on.mode === undefined };
}

/** As for modes: what may have been given up, or made weaker, at a lost master counts as that. */
export function afterwardsRanges({ ranges, leaving, pending }: AgentLock): readonly Segment[] {
  if (leaving) return [];
  return pending?.range && !pending.test && !pending.told ? lowered(ranges, pending.range) : ranges;
}
