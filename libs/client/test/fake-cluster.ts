// A cluster of fakes for tests of the client: answers per node and operation, a clock that jumps to the
// next timer when nothing else is to do, and streams in memory that can break.
import type { ClientLink } from '@ssi/client';
import {
  type Contract,
  fail,
  findMember,
  type Incarnation,
  type Op,
  ok,
  type Reply,
  type RequestOf,
  type View,
} from '@ssi/contracts';
import type { Clock, Ics, Stream } from '@ssi/ports';
import { memorySpanStore, startTelemetry } from '@ssi/telemetry';

/** Time stands still while something is going on, and jumps to the next timer when nothing is. */
export function jumpingClock(): Clock {
  let now = 0;
  let timers: { at: number; fn: () => void }[] = [];
  let scheduled = false;
  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      const next = timers.sort((a, b) => a.at - b.at)[0];
      if (!next) return;
      timers = timers.filter((t) => t !== next);
      now = Math.max(now, next.at);
      next.fn();
      schedule();
    });
  };
  return {
    nowMs: () => now,
    wallMs: () => now,
    after: (delayMs, fn) => {
      const timer = { at: now + delayMs, fn };
      timers.push(timer);
      schedule();
      return {
        cancel: () => {
          timers = timers.filter((t) => t !== timer);
        },
      };
    },
  };
}

export const incarnationOf = (num: number): Incarnation => ({
  bootCount: 1,
  bootId: num.toString(16).padStart(16, '0'),
});

export function viewOf(
  transid: number,
  states: Readonly<Record<number, View['members'][number]['state']>>,
): View {
  const members = Object.entries(states).map(([num, state]) => ({
    num: Number(num),
    name: `n${num}`,
    incarnation: incarnationOf(Number(num)),
    state,
    facts: {
      addresses: [`10.0.0.${num}`],
      cpus: 2,
      memBytes: 2 ** 30,
      kernel: '6.12',
      arch: 'x86_64',
      cpuFlags: [],
      native: true,
      heartbeatPorts: { udp: 0, tcp: 0 },
      versions: {},
    },
  }));
  return { transid, term: 1, master: members[0]?.num ?? 1, members, keyServices: {}, pidBits: 16 };
}

type Handler = (request: never, node: number) => unknown;
/** By `contract.op`; the node is the one that was asked. */
export type FakeHandlers = Record<string, Handler>;

export interface FakeCluster {
  readonly link: ClientLink;
  view: View;
  readonly handlers: FakeHandlers;
  /** Nodes that answer nobody: EHOSTUNREACH. */
  readonly unreachable: Set<number>;
  /** `contract.op@node` of each call, in order. */
  readonly asked: string[];
  /** Views the client took. */
  readonly taken: number[];
  readonly traceparents: Map<string, string | undefined>;
  readonly spans: ReturnType<typeof memorySpanStore>;
  /** Who accepts streams: by token. */
  readonly listeners: Map<string, (server: Stream) => void>;
  hint(): void;
}

export async function fakeCluster(view: View): Promise<FakeCluster> {
  const clock = jumpingClock();
  const hints = new Set<() => void>();
  const spans = memorySpanStore();
  const telemetry = await startTelemetry({
    service: 'client',
    node: 0,
    cluster: 'test',
    store: spans,
    clock,
    global: false,
  });
  /** Calls in work: as in ICS, they end with EHOSTDOWN when the view says that the node left. */
  const pending: { to: number; end: () => void }[] = [];
  const call = async (
    contract: Contract,
    op: string,
    to: number,
    request: unknown,
    options?: { timeoutMs?: number; context?: { traceparent?: string }; signal?: AbortSignal },
  ): Promise<Reply<unknown>> => {
    const name = `${contract.name}.${op}`;
    cluster.asked.push(`${name}@${to}`);
    cluster.traceparents.set(name, options?.context?.traceparent);
    if (cluster.unreachable.has(to) || !cluster.view.members.some((m) => m.num === to))
      return fail('EHOSTUNREACH', `nobody serves ${name} on ${to}`);
    const declared = contract.ops[op] as Op;
    const parsed = declared.request.safeParse(request);
    if (!parsed.success) return fail('EBADMSG', parsed.error.message);
    const handler = cluster.handlers[name];
    if (!handler) return fail('ENOSYS', name);
    const left = new Promise<Reply<unknown>>((done) => {
      pending.push({ to, end: () => done(fail('EHOSTDOWN', `node ${to} left`)) });
    });
    const answered = Promise.race([
      left,
      Promise.resolve(handler(parsed.data as never, to)) as Promise<Reply<unknown>>,
    ]);
    if (options?.timeoutMs === undefined) return answered;
    const ms = options.timeoutMs;
    const aborted = new Promise<Reply<unknown>>((done) =>
      options.signal?.addEventListener('abort', () => done(fail('ECANCELED', 'aborted'))),
    );
    return Promise.race([
      answered,
      aborted,
      new Promise<Reply<unknown>>((done) => {
        const timer = clock.after(ms, () => done(fail('ETIMEDOUT', `${name} in ${ms} ms`)));
        void answered.then(timer.cancel);
      }),
    ]);
  };
  const ics: Ics = {
    self: { node: 0, service: 'client', bootId: '0'.repeat(16) },
    call: call as Ics['call'],
    versions: () => undefined,
    request: (contract, op, to, request, options) => ({
      done: (call as Ics['call'])(contract, op, to, request, options),
      cancel: () => {},
    }),
    send: () => {},
    serve: () => {},
    setView: (v) => {
      cluster.taken.push(v.transid);
      for (const p of pending) if (findMember(v, p.to)?.state !== 'UP') p.end();
    },
    close: async () => {},
  };
  const cluster: FakeCluster = {
    view,
    unreachable: new Set(),
    asked: [],
    taken: [],
    traceparents: new Map(),
    spans,
    listeners: new Map(),
    hint: () => {
      for (const fn of hints) fn();
    },
    handlers: {
      'clms.members': (_request, node) =>
        ok({
          view: cluster.view,
          self: { num: node, incarnation: incarnationOf(node) },
          leased: true,
          services: [{ name: 'vproc', state: 'serving' }],
        }),
    },
    link: {
      cluster: 'test',
      ics,
      clock,
      tracer: telemetry.tracer,
      spans,
      seeds: [1],
      uid: 0,
      streams: {
        connect: async (_to, token) => {
          const listener = cluster.listeners.get(token);
          if (!listener) return fail('EACCES', 'no such token');
          const [client, server] = streamPair();
          listener(server);
          return ok(client);
        },
      },
      onEvent: (fn) => {
        hints.add(fn);
        return { stop: () => void hints.delete(fn) };
      },
      close: () => telemetry.stop(),
    },
  };
  return cluster;
}

export type RequestFor<C extends Contract, K extends keyof C['ops'] & string> = RequestOf<
  C['ops'][K]
>;

/** Two ends of one connection; destroying either breaks both and loses what was not read. */
export function streamPair(): [Stream, Stream] {
  let broken = false;
  let settle = (): void => {};
  const closed = new Promise<void>((done) => {
    settle = done;
  });
  const sides = [side(), side()] as const;
  const destroy = (): void => {
    if (broken) return;
    broken = true;
    settle();
    for (const s of sides) s.wake();
  };
  const end = (own: Side, other: Side): Stream => ({
    read: async () => {
      while (own.queue.length === 0) {
        if (broken) throw new Error('connection broken');
        if (own.ended) return undefined;
        await own.wait();
      }
      if (broken) throw new Error('connection broken');
      const message = own.queue.shift();
      other.wake(); // room again
      return message;
    },
    write: async (message) => {
      if (broken) throw new Error('connection broken');
      other.queue.push(message.slice());
      other.wake();
      while (other.queue.length > 64) {
        if (broken) throw new Error('connection broken');
        await own.wait();
      }
    },
    end: async () => {
      other.ended = true;
      other.wake();
    },
    destroy,
    closed,
  });
  return [end(sides[0], sides[1]), end(sides[1], sides[0])];
}

interface Side {
  queue: Uint8Array[];
  ended: boolean;
  wait(): Promise<void>;
  wake(): void;
}

function side(): Side {
  let waiters: (() => void)[] = [];
  return {
    queue: [],
    ended: false,
    wait: () => new Promise((done) => waiters.push(done)),
    wake: () => {
      const woken = waiters;
      waiters = [];
      for (const fn of woken) fn();
    },
  };
}
