// ICS as services see it: three paradigms over whatever transport, at most once, in order per
// (source, destination, service, priority). Every call ends: by its reply, its deadline, or nodedown.
// [OpenSSI ICS: RPC, request/response, message]
import type {
  Contract,
  ErrnoOf,
  IcsErrno,
  MemberId,
  Op,
  Priority,
  Reply,
  ReplyOf,
  RequestOf,
  Source,
  View,
} from '@ssi/contracts';

/** What travels along with a call: pass the one you were served with, so priority and trace go on. */
export interface CallContext {
  /** Priority of the call being served; a call made with this context goes out one higher. */
  readonly priority: Priority;
  /** W3C traceparent of the current span, if any. */
  readonly traceparent?: string;
}

export interface CallOptions {
  readonly timeoutMs?: number;
  readonly context?: CallContext;
  readonly signal?: AbortSignal;
  /** Nobody serves yet (EHOSTUNREACH): try again until the deadline. It did not run, so this is safe. */
  readonly waitForServer?: boolean;
  /** Told the transid of the view that the server went by when it answered, before the reply is there. */
  readonly onAnswered?: (transid: number) => void;
}

/** How a contract is served; each bound holds for each priority on its own. */
export interface ServeOptions {
  /** Calls in work at once. Default 256; long polls do not count (bound 10,000). 1: strictly one after the other. */
  readonly inWorkMax?: number;
  /** Calls that wait for their turn; past it new ones get EAGAIN. Default 1,024. */
  readonly queueMax?: number;
}

export interface ServedCall {
  readonly from: Source;
  readonly context: CallContext;
  /** The caller's view. */
  readonly transid: number;
  /** Fires when the caller gave up, its node went down, or this service stops. */
  readonly signal: AbortSignal;
}

export type CallReply<O extends Op> = Reply<ReplyOf<O>, ErrnoOf<O> | IcsErrno>;

/** A handle on an asynchronous RPC. [icscli_handle] */
export interface PendingCall<O extends Op> {
  readonly done: Promise<CallReply<O>>;
  /** Ends it here with ECANCELED; the server may still run it. */
  cancel(): void;
}

export type Handlers<C extends Contract> = {
  readonly [K in keyof C['ops'] & string]?: (
    request: RequestOf<C['ops'][K]>,
    call: ServedCall,
  ) =>
    | Promise<Reply<ReplyOf<C['ops'][K]>, ErrnoOf<C['ops'][K]>>>
    | Reply<ReplyOf<C['ops'][K]>, ErrnoOf<C['ops'][K]>>;
};

/**
 * Why something that came was refused. forged: it says otherwise than its transport; denied: not for this
 * caller; garbage: no frame; malformed: not what the contract says; flooded: too much of one person.
 */
export const refusalNames = ['forged', 'denied', 'garbage', 'malformed', 'flooded'] as const;

/** How much of each, for a `status`. */
export function refusals(ics: Pick<Ics, 'counters'>): Record<string, number> {
  const counted = ics.counters?.() ?? {};
  return Object.fromEntries(refusalNames.map((name) => [name, counted[name] ?? 0]));
}

export interface Ics {
  readonly self: { readonly node: number; readonly service: string; readonly bootId: string };
  /** What happened here since the start, by name; absent in doubles. */
  counters?(): Readonly<Record<string, number>>;
  /** RPC: resolves once, never rejects. */
  call<C extends Contract, K extends keyof C['ops'] & string>(
    contract: C,
    op: K,
    to: number,
    request: RequestOf<C['ops'][K]>,
    options?: CallOptions,
  ): Promise<CallReply<C['ops'][K]>>;
  /** Asynchronous RPC: a handle to wait on or cancel. */
  request<C extends Contract, K extends keyof C['ops'] & string>(
    contract: C,
    op: K,
    to: number,
    request: RequestOf<C['ops'][K]>,
    options?: CallOptions,
  ): PendingCall<C['ops'][K]>;
  /** Message: sent again until the peer has it or is down; the sender does not learn. */
  send<C extends Contract, K extends keyof C['ops'] & string>(
    contract: C,
    op: K,
    to: number,
    request: RequestOf<C['ops'][K]>,
    options?: CallOptions,
  ): void;
  /**
   * Lowest and highest version of the contract that the server there said it serves; undefined: not asked
   * yet, or in doubt.
   */
  versions(contract: Contract, to: number): readonly [min: number, max: number] | undefined;
  /**
   * Serves a contract; an operation without a handler answers ENOSYS. Other versions of it that are served
   * go on beside it.
   */
  serve<C extends Contract>(contract: C, handlers: Handlers<C>, options?: ServeOptions): void;
  /**
   * The view this service goes by: calls to members that left end with EHOSTDOWN, frames of older
   * incarnations are refused with ESTALE. Older transids are ignored. `self` is what this node is in
   * the view (as `attach` and the `view` operation tell it): from then on calls name that incarnation.
   */
  setView(view: View, self?: MemberId): void;
  close(): Promise<void>;
}
