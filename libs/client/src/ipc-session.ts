// A client's session with the agent of one node, kept for as long as it is open; its calls. [services/ipc-nameserver]
import {
  fail,
  type IpcRequest,
  type IpcResult,
  type IpcType,
  ipc,
  ok,
  type Reply,
  type RequestOf,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { withSpan } from '@ssi/telemetry';
import type { ClientLink } from './link.ts';
import type { ViewSource } from './view-source.ts';

export interface WaitOptions {
  /** Longest wait, ms; absent: for ever. EAGAIN of semop, else ETIMEDOUT. */
  readonly timeoutMs?: number;
  /** Gives up: EINTR. */
  readonly signal?: AbortSignal;
}

export interface GetOptions {
  /** IPC_CREAT, O_CREAT */
  readonly create?: boolean;
  /** IPC_EXCL, O_EXCL */
  readonly exclusive?: boolean;
  /** Default 0600. */
  readonly mode?: number;
}

const retryMs = 50;
const openMs = 10_000;
/** No call lasts longer. */
const longestMs = 20 * 86_400_000;

export type Answer<T> = Promise<Reply<T>>;

export class IpcSession {
  readonly node: number;
  readonly #link: ClientLink;
  readonly #id: string;
  readonly #label: string | undefined;
  readonly #lost = new AbortController();
  readonly #watch: { stop(): void };
  readonly #told = new Map<number, () => void>();
  #sessionMs = 0;
  #closed = false;

  constructor(link: ClientLink, views: ViewSource, node: number, label: string | undefined) {
    this.#link = link;
    this.node = node;
    this.#label = label;
    this.#id = [...crypto.getRandomValues(new Uint8Array(8))]
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join('');
    // A call to a node that dies without a word ends because the view says so.
    this.#watch = views.watch();
  }

  /** Fires when the session is lost: its undo is applied, its ends are closed. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async open(): Answer<undefined> {
    const { clock, ics } = this.#link;
    const endMs = clock.nowMs() + openMs;
    const label = this.#label;
    const request = {
      session: this.#id,
      open: true,
      after: 0,
      ...(label !== undefined && { label }),
    };
    for (;;) {
      const sentMs = clock.nowMs();
      const reply = await ics.call(ipc, 'session', this.node, request, {
        timeoutMs: Math.max(1, endMs - sentMs),
        waitForServer: true,
      });
      if (reply.ok) {
        this.#sessionMs = reply.value.sessionMs;
        void this.#follow(sentMs);
        return ok();
      }
      if (reply.errno !== 'EAGAIN' || clock.nowMs() >= endMs) {
        this.#watch.stop();
        return reply;
      }
      await sleep(clock, retryMs);
    }
  }

  /** Hears of notifications, which is also what keeps the session. */
  async #follow(openedMs: number): Promise<void> {
    const { clock, ics } = this.#link;
    let keptMs = openedMs;
    let after = 0;
    while (!this.#closed && !this.lost.aborted) {
      const sentMs = clock.nowMs();
      const left = keptMs + this.#sessionMs - sentMs;
      if (left <= 0) return this.#lose('nobody at the node heard of us in time');
      const request = { session: this.#id, after };
      const reply = await ics.call(ipc, 'session', this.node, request, { timeoutMs: left });
      if (reply.ok) {
        keptMs = sentMs;
        for (const { seq, handle } of reply.value.told) {
          after = Math.max(after, seq);
          this.#told.get(handle)?.();
        }
      } else if (reply.errno === 'ESRCH' || reply.errno === 'EHOSTDOWN') this.#lose(reply.detail);
      else await sleep(clock, retryMs);
    }
  }

  #lose(why: string): void {
    this.#watch.stop();
    if (!this.#closed) this.#lost.abort(new Error(`ESRCH ${why}`));
  }

  async get(
    type: IpcType,
    name: string | undefined,
    options: GetOptions & { attributes?: RequestOf<typeof ipc.ops.get>['attributes'] } = {},
  ): Answer<{ id: number; node: number; created: boolean }> {
    const { create = false, exclusive = false, mode = 0o600, attributes } = options;
    const request = {
      ...{ session: this.#id, type, create, exclusive, mode },
      ...(name !== undefined && { name }),
      ...(attributes && { attributes }),
    };
    const { ics, tracer } = this.#link;
    return withSpan(
      tracer,
      'ssi.ipc.get',
      { attributes: { 'ssi.ipc.type': type } },
      (traceparent) =>
        ics.call(ipc, 'get', this.node, request, {
          signal: this.lost,
          ...(traceparent !== undefined && { context: { priority: 0, traceparent } }),
        }),
    );
  }

  /** Any call of an object, as the contract has it. */
  async call(id: number, request: IpcRequest, options: WaitOptions = {}): Answer<IpcResult> {
    if (this.lost.aborted || this.#closed) return fail('ESRCH', 'the session is over');
    const { timeoutMs, signal } = options;
    const body = {
      ...{ session: this.#id, id, request },
      ...(timeoutMs !== undefined && { waitMs: timeoutMs }),
    };
    const reply = await this.#link.ics.call(ipc, 'call', this.node, body, {
      timeoutMs: longestMs,
      signal: signal ? AbortSignal.any([signal, this.lost]) : this.lost,
    });
    if (!reply.ok && signal?.aborted) return fail('EINTR', 'given up');
    return reply;
  }

  /** Called back by `IpcEnd`. */
  onTold(handle: number, fn: (() => void) | undefined): void {
    if (fn) this.#told.set(handle, fn);
    else this.#told.delete(handle);
  }

  /** Applies undo and closes what is open. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true; // so that the end of the session is no loss
    const options = { timeoutMs: this.#sessionMs, signal: this.lost };
    if (!this.lost.aborted)
      await this.#link.ics.call(ipc, 'close', this.node, { session: this.#id }, options);
    this.#watch.stop();
  }
}
