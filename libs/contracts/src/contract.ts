// What a contract is: a named, versioned set of operations, each with its schemas, its errnos, and
// the operations its server calls in turn. OpenSSI wrote this as .svc files; here one declaration
// gives types, decoders and the AsyncAPI document. [OpenSSI icsgen]
import type { z } from 'zod';
import type { Errno } from './errno.ts';

/** What a person may do with the cluster; each role may all that the ones before it may. */
export const roles = ['read', 'operate', 'admin'] as const;
export type Role = (typeof roles)[number];

/**
 * Who may ask for an operation: a role of people, a service by its contract's name, `service` any of them;
 * with `@node` only one of the server's own node.
 */
export type Caller = Role | `${ServiceWord}` | `${ServiceWord}@node`;
type ServiceWord =
  | 'service'
  | 'clms'
  | 'ics'
  | 'vproc'
  | 'actor'
  | 'dlm'
  | 'ipc'
  | 'lvs'
  | 'cfs'
  | 'cfsclient';

/** 0 is ordinary traffic, 3 the highest. A call made while serving one goes out one higher. */
export type Priority = 0 | 1 | 2 | 3;

export interface Op<
  Req extends z.ZodType = z.ZodType,
  Rep extends z.ZodType = z.ZodType,
  E extends Errno = Errno,
> {
  /** `rpc` has a reply; `message` has none (it is still delivered at most once, in order). */
  readonly kind: 'rpc' | 'message';
  readonly request: Req;
  readonly reply: Rep;
  readonly errnos: readonly E[];
  /** Absent: everyone (tests). The bus's permissions are made from this, and every server checks it. */
  readonly callers?: readonly Caller[];
  /** Lowest priority at which this operation travels. Default 0. */
  readonly priority?: Priority;
  /** The reply may take as long as the caller's deadline (wait, follow): not counted as work in progress. */
  readonly longPoll?: boolean;
  /** Longest time the caller waits unless it says otherwise, ms. Default 5,000. */
  readonly timeoutMs?: number;
  /** Operations the server may call while serving this one, as `contract.op`. Checked: no cycle, at most 3 deep. */
  readonly calls?: readonly string[];
  /** One sentence for people and for the AsyncAPI document. */
  readonly summary: string;
}

export interface Contract<Ops extends Record<string, Op> = Record<string, Op>> {
  /** Name in subjects and in event types: `clms`, `ics`, `vproc`. */
  readonly name: string;
  readonly version: number;
  readonly ops: Ops;
}

export const defineContract = <const Ops extends Record<string, Op>>(
  name: string,
  version: number,
  ops: Ops,
): Contract<Ops> => ({ name, version, ops });

export const rpc = <Req extends z.ZodType, Rep extends z.ZodType, const E extends Errno = never>(
  op: Omit<Op<Req, Rep, E>, 'kind'>,
): Op<Req, Rep, E> => ({ kind: 'rpc', ...op });

export const message = <Req extends z.ZodType, Rep extends z.ZodType>(
  op: Omit<Op<Req, Rep, never>, 'kind' | 'errnos'>,
): Op<Req, Rep, never> => ({ kind: 'message', errnos: [], ...op });

export type RequestOf<O extends Op> = z.infer<O['request']>;
export type ReplyOf<O extends Op> = z.infer<O['reply']>;
export type ErrnoOf<O extends Op> = O['errnos'][number];
