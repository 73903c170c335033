// The server's state: what is served, the lanes calls wait in, the channels of callers with their reply
// cache. What happens to them is in server.ts.
import type { CallFrame, Contract, Op, Reply, Source } from '@ssi/contracts';
import type { ServedCall, ServeOptions } from '@ssi/ports';
import type { Numbered } from './numbered.ts';
import type { RpcSpan } from './trace.ts';
import type { Via } from './transport.ts';

export type Handler = (
  request: unknown,
  call: ServedCall,
) => Promise<Reply<unknown>> | Reply<unknown>;

/** Bounds of one contract at one priority. */
export const inWorkMax = 256;
export const queueMax = 1_024;
export const longPollMax = 10_000;

/** Calls of one contract and one priority. */
export interface Lane {
  inWork: number;
  queue: Entry[];
}

export interface Served {
  readonly contract: Contract;
  readonly handlers: Readonly<Record<string, Handler | undefined>>;
  readonly inWorkMax: number;
  readonly queueMax: number;
  readonly lanes: readonly [Lane, Lane, Lane, Lane];
  longPolls: number;
}

export function served(
  contract: Contract,
  handlers: Readonly<Record<string, Handler | undefined>>,
  options: ServeOptions,
): Served {
  const lane = (): Lane => ({ inWork: 0, queue: [] });
  return {
    contract,
    handlers,
    inWorkMax: options.inWorkMax ?? inWorkMax,
    queueMax: options.queueMax ?? queueMax,
    lanes: [lane(), lane(), lane(), lane()],
    longPolls: 0,
  };
}

/** A call that was let in: queued, running or answered. Kept until the caller is done with its number. */
export interface Entry {
  readonly channel: CallerChannel;
  readonly served: Served;
  readonly definition: Op;
  /** The newest frame of it: where and under which attempt to answer. */
  frame: CallFrame;
  via: Via;
  arrivedMs: number;
  readonly deadlineMs: number;
  state: 'queued' | 'running' | 'done';
  /** Nobody wants its reply any more. */
  dropped: boolean;
  abort: AbortController | undefined;
  span: RpcSpan | undefined;
  result: Uint8Array | undefined;
}

/** One channel of one life of a caller. */
export interface CallerChannel {
  readonly key: string;
  from: Source;
  readonly contract: string;
  readonly priority: number;
  /** Next number to be let in. */
  next: number;
  /** Everything below is finished at the caller. */
  lowWater: number;
  /** Came too early, by number; a cancel skips its number. */
  readonly held: Map<number, { frame: CallFrame; via: Via }>;
  readonly entries: Numbered<Entry>;
  heardMs: number;
}

/** What a handler sees of a call; the signal is only made where somebody asks for it. */
export class ServedView implements ServedCall {
  readonly #entry: Entry;
  readonly from: Source;
  readonly context: ServedCall['context'];
  readonly transid: number;

  constructor(entry: Entry) {
    this.#entry = entry;
    const f = entry.frame;
    this.from = f.from;
    this.transid = f.transid;
    const priority = f.priority as 0 | 1 | 2 | 3;
    const traceparent = entry.span?.traceparent ?? f.traceparent;
    this.context = traceparent === undefined ? { priority } : { priority, traceparent };
  }

  get signal(): AbortSignal {
    const entry = this.#entry;
    if (!entry.abort) {
      entry.abort = new AbortController();
      if (entry.dropped) entry.abort.abort();
    }
    return entry.abort.signal;
  }
}
