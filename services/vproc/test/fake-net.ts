// A small network of services: calls, streams, and what goes wrong with both. A server that is not there
// gives EHOSTUNREACH, one that dies in the middle ETIMEDOUT, one whose node left the view EHOSTDOWN.
import {
  type Contract,
  type Errno,
  fail,
  findMember,
  ok,
  type Reply,
  type View,
} from '@ssi/contracts';
import type {
  CallOptions,
  Clock,
  Ics,
  ServedCall,
  Stream,
  StreamListener,
  Streams,
} from '@ssi/ports';
import type { Life } from '../src/adapters/ports.fake.ts';

type Handler = (request: unknown, call: ServedCall) => unknown;
interface Server {
  readonly life: Life;
  readonly handlers: Record<string, Handler | undefined>;
}

const hopMs = 1;
const resendMs = 200;

export class FakeNet {
  readonly clock: Clock;
  readonly servers = new Map<string, Server>();
  readonly listeners = new Map<number, FakeListener>();
  /** Pairs of nodes that do not hear each other, as `a-b`. */
  readonly cut = new Set<string>();
  /** Out-of-line streams are half open: what is written goes nowhere, and nobody is told. */
  halfOpen = false;
  readonly calls: string[] = [];
  private nextPort = 1;
  private lives = 0;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  linked(a: number, b: number): boolean {
    return !this.cut.has(`${a}-${b}`) && !this.cut.has(`${b}-${a}`);
  }

  /** ICS as one service of one node sees it, for one life. */
  ics(node: number, life: Life, service: string): Ics {
    let view: View | undefined;
    const bootId = `${++this.lives}`.padStart(16, '0');
    const pending = new Set<{ to: number; end: (r: Reply<never, Errno>) => void }>();
    const call = (
      contract: Contract,
      op: string,
      to: number,
      request: unknown,
      options: CallOptions = {},
    ): Promise<never> => {
      const timeoutMs = options.timeoutMs ?? contract.ops[op]?.timeoutMs ?? 5_000;
      const key = `${contract.name}.${op}`;
      return new Promise((resolve) => {
        const abort = new AbortController();
        const entry = {
          to,
          end: (reply: Reply<never, Errno>): void => {
            if (!pending.delete(entry)) return;
            timer.cancel();
            abort.abort();
            if (life.alive) resolve(reply as never);
          },
        };
        pending.add(entry);
        const timer = this.clock.after(timeoutMs, () => entry.end(fail('ETIMEDOUT', key)));
        const member = view && findMember(view, to);
        if (member?.state === 'DOWN' && to !== node) {
          entry.end(fail('EHOSTDOWN', `node ${to} is DOWN`));
          return;
        }
        if (!this.linked(node, to)) return;
        this.clock.after(hopMs, () => {
          const server = this.servers.get(`${to}.${contract.name}`);
          if (!server?.life.alive) return entry.end(fail('EHOSTUNREACH', `${key} at ${to}`));
          const handler = server.handlers[op];
          if (!handler) return entry.end(fail('ENOSYS', key));
          this.calls.push(`${node}>${to} ${key}`);
          const served: ServedCall = {
            from: { node, service, bootId },
            context: options.context ?? { priority: 0 },
            transid: view?.transid ?? 0,
            signal: abort.signal,
          };
          const body = contract.ops[op]?.request.parse(structuredClone(request));
          // A resend that meets another life of the server is not run: that is all the caller learns.
          const probe = (): void => {
            if (!pending.has(entry)) return;
            const now = this.servers.get(`${to}.${contract.name}`);
            if (now && now.life !== server.life && now.life.alive)
              entry.end(fail('ETIMEDOUT', `${key}: the server was replaced`));
            else this.clock.after(resendMs, probe);
          };
          this.clock.after(resendMs, probe);
          void Promise.resolve(handler(body, served)).then((reply) => {
            if (!server.life.alive || !this.linked(node, to)) return;
            this.clock.after(hopMs, () => entry.end(structuredClone(reply) as never));
          });
        });
      });
    };
    return {
      self: { node, service, bootId },
      call: call as Ics['call'],
      versions: () => undefined,
      request: () => {
        throw new Error('not used by vproc');
      },
      send: ((contract: Contract, op: string, to: number, request: unknown) => {
        void call(contract, op, to, request);
      }) as Ics['send'],
      serve: (contract, handlers) => {
        this.servers.set(`${node}.${contract.name}`, {
          life,
          handlers: handlers as Record<string, Handler | undefined>,
        });
      },
      setView: (next) => {
        view = next;
        for (const entry of [...pending])
          if (findMember(next, entry.to)?.state === 'DOWN')
            entry.end(fail('EHOSTDOWN', `node ${entry.to} went DOWN`));
      },
      close: async () => {},
    };
  }

  streams(node: number, life: Life): Streams {
    return {
      listen: async () => {
        const listener = new FakeListener(node, life, this.nextPort++);
        this.listeners.set(listener.port, listener);
        return listener;
      },
      connect: async ({ port }, token) => {
        const listener = this.listeners.get(port);
        if (!listener?.life.alive || !this.linked(node, listener.node))
          return fail('EHOSTUNREACH', `port ${port}`);
        const accept = listener.tokens.get(token);
        if (!accept) return fail('EACCES', 'token');
        const [near, far] = streamPair(
          this.clock,
          () => life.alive && listener.life.alive,
          () => this.halfOpen,
        );
        accept(far);
        return ok(near);
      },
    };
  }
}

class FakeListener implements StreamListener {
  readonly node: number;
  readonly life: Life;
  readonly port: number;
  readonly tokens = new Map<string, (stream: Stream) => void>();
  constructor(node: number, life: Life, port: number) {
    this.node = node;
    this.life = life;
    this.port = port;
  }
  accept(token: string, onStream: (stream: Stream) => void) {
    this.tokens.set(token, onStream);
    return { revoke: () => void this.tokens.delete(token) };
  }
  async close(): Promise<void> {}
}

/** Two ends of a connection that breaks when either side's service is gone. */
function streamPair(clock: Clock, both: () => boolean, lost: () => boolean): [Stream, Stream] {
  let broken = false;
  const end = (): { queue: (Uint8Array | undefined)[]; wake: () => void } => ({
    queue: [],
    wake: () => {},
  });
  const ends = [end(), end()] as const;
  const make = (mine: 0 | 1): Stream => {
    const inbox = ends[mine];
    const outbox = ends[mine === 0 ? 1 : 0];
    return {
      async read() {
        for (;;) {
          if (inbox.queue.length > 0) return inbox.queue.shift();
          if (broken || !both()) throw new Error('broken');
          await new Promise<void>((done) => {
            const timer = clock.after(20, done);
            inbox.wake = () => {
              timer.cancel();
              done();
            };
          });
        }
      },
      async write(message) {
        if (broken || !both()) throw new Error('broken');
        if (lost()) return;
        outbox.queue.push(message.slice());
        outbox.wake();
      },
      async end() {
        outbox.queue.push(undefined);
        outbox.wake();
      },
      destroy() {
        broken = true;
      },
      closed: Promise.resolve(),
    };
  };
  return [make(0), make(1)];
}
