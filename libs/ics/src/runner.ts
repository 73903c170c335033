// Runs the calls that were let in: by lane, in the order in which they were let in, so many at a time.
import type { Tracer } from '@opentelemetry/api';
import { type CallFrame, fail, frameKind, type Reply } from '@ssi/contracts';
import type { Clock, Log } from '@ssi/ports';
import { decodeBody, encodeResult, frameMax } from './frame.ts';
import { type Entry, type Lane, type Served, ServedView } from './serving.ts';
import { rpcSpan } from './trace.ts';
import type { Voice } from './voice.ts';

export interface RunnerDeps {
  readonly node: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly tracer: Tracer;
  readonly voice: Voice;
  /** A reply is kept: its size. */
  readonly onKept: (bytes: number) => void;
}

export class Runner {
  readonly #d: RunnerDeps;
  started = 0;
  /** Requests that are not what the contract says. */
  malformed = 0;

  constructor(deps: RunnerDeps) {
    this.#d = deps;
  }

  /** Now, or when its turn has come. */
  enter(entry: Entry): void {
    const { served, definition } = entry;
    const lane = served.lanes[entry.frame.priority as 0 | 1 | 2 | 3];
    if (lane.queue.length > 0 || (!definition.longPoll && lane.inWork >= served.inWorkMax))
      lane.queue.push(entry);
    else this.#start(entry, lane);
  }

  #start(entry: Entry, lane: Lane): void {
    const { served, definition, frame: f } = entry;
    entry.state = 'running';
    if (definition.longPoll) served.longPolls++;
    else lane.inWork++;
    this.started++;
    let reply: Promise<Reply<unknown>> | Reply<unknown>;
    try {
      reply = this.#run(entry, f);
    } catch (error) {
      reply = this.#crashed(entry, error);
    }
    if (!(reply instanceof Promise)) {
      this.#finish(entry, lane, reply);
      return;
    }
    reply.then(
      (r) => this.#finish(entry, lane, r),
      (error: unknown) => this.#finish(entry, lane, this.#crashed(entry, error)),
    );
  }

  #run(entry: Entry, f: CallFrame): Promise<Reply<unknown>> | Reply<unknown> {
    const handler = entry.served.handlers[f.op];
    if (!handler) return fail('ENOSYS', `${f.contract}.${f.op} has no handler here`);
    let body: unknown;
    try {
      body = decodeBody(f.body);
    } catch {
      this.malformed++;
      return fail('EBADMSG', 'the request cannot be decoded');
    }
    const parsed = entry.definition.request.safeParse(body);
    if (!parsed.success) {
      this.malformed++;
      return fail('EBADMSG', `${f.contract}.${f.op}: ${parsed.error.message}`);
    }
    if (f.traceparent !== undefined)
      entry.span = rpcSpan({
        tracer: this.#d.tracer,
        kind: 'server',
        contract: f.contract,
        version: f.version,
        op: f.op,
        parent: f.traceparent,
        node: this.#d.node,
        peer: `${f.from.node}-${f.from.service}`,
        transid: f.transid,
      });
    return handler(parsed.data, new ServedView(entry));
  }

  /** A handler must not throw: it is a bug, and what it did is not known. */
  #crashed(entry: Entry, error: unknown): Reply<unknown> {
    const { contract, op } = entry.frame;
    this.#d.log.error('a handler failed', { op: `${contract}.${op}`, error: String(error) });
    return fail('ETIMEDOUT', `the server failed while it served this: ${String(error)}`);
  }

  #finish(entry: Entry, lane: Lane, reply: Reply<unknown>): void {
    const { served, definition, channel, frame: f } = entry;
    entry.state = 'done';
    if (definition.longPoll) served.longPolls--;
    else lane.inWork--;
    entry.span?.end(reply);
    if (channel.entries.get(f.seq) === entry) {
      let result = encodeResult(reply);
      if (result.length > frameMax)
        result = encodeResult(fail('EMSGSIZE', `a reply of ${result.length} bytes`));
      entry.result = result;
      this.#d.onKept(result.length);
      const servedMs = this.#d.clock.nowMs() - entry.arrivedMs;
      if (!entry.dropped) this.#d.voice.say(frameKind.reply, f, entry.via, result, servedMs);
    }
    this.#next(served, lane);
  }

  #next(served: Served, lane: Lane): void {
    while (lane.queue.length > 0) {
      const entry = lane.queue[0];
      if (!entry) return;
      if (!entry.definition.longPoll && lane.inWork >= served.inWorkMax) return;
      lane.queue.shift();
      if (!entry.dropped) this.#start(entry, lane);
    }
  }
}
