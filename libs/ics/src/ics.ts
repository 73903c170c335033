// ICS: one endpoint that calls and serves, over any transports. Joins the two halves and keeps what
// both go by: who this is, and the view. [OpenSSI ICS]
import { type Tracer, trace } from '@opentelemetry/api';
import {
  type CallFrame,
  type Contract,
  fail,
  type Incarnation,
  type MemberId,
  mayCall,
  type Op,
  type Reply,
  type ReplyFrame,
  type Source,
  sameIncarnation,
  type TransportName,
  type View,
} from '@ssi/contracts';
import {
  type CallOptions,
  type CallReply,
  type Clock,
  type Ics,
  type Log,
  noLog,
  type Random,
  type ServeOptions,
} from '@ssi/ports';
import { Caller } from './caller.ts';
import { decodeFrame, isCallFrame } from './frame.ts';
import { Server } from './server.ts';
import type { Handler } from './serving.ts';
import type { Claim, Transport } from './transport.ts';

export interface IcsOptions {
  /** Node 0 is a client that is no member; `service` is its principal or a random name then. */
  readonly node: number;
  readonly service: string;
  /** 16 hex digits; absent: drawn. */
  readonly bootId?: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  /** Fastest by expectation first. At least one. */
  readonly transports: readonly Transport[];
  readonly log?: Log;
  /** Absent: the process's own, as the API knows it. */
  readonly tracer?: Tracer;
  /** Replies are checked against their contract too, at the caller (tests). */
  readonly checkReplies?: boolean;
}

/** How ICS reaches one server. */
export interface PeerState {
  readonly node: number;
  readonly contract: string;
  readonly transport: TransportName | undefined;
  readonly rttMs: Readonly<Partial<Record<TransportName, number>>>;
  /** Transports that have a way there now, and of these the ones that did not answer lately. */
  readonly ready: readonly TransportName[];
  readonly suspect: readonly TransportName[];
  readonly pending: number;
}

/** The port, and what a router asks of its own endpoint. */
export interface IcsEndpoint extends Ics {
  peers(): PeerState[];
  counters(): Record<string, number>;
  /** Asks every way to a server how it is; `peers` shows what was learnt. */
  probe(node: number, contract: string): void;
  /** Somebody knows better which life of a server is there: asked again before the next call. */
  learn(node: number, contract: string, bootId: string): void;
}

export function createIcs(options: IcsOptions): IcsEndpoint {
  const { node, service, clock, transports } = options;
  const log = options.log ?? noLog;
  const self = { node, service, bootId: options.bootId ?? options.random.hex(8) };
  let view: View | undefined;
  let incarnation: Incarnation | undefined;
  let from: Source = self;
  const shared = {
    self,
    clock,
    log,
    transports,
    tracer: options.tracer ?? trace.getTracer('@ssi/ics'),
    source: () => from,
    transid: () => view?.transid ?? 0,
    view: () => view,
  };
  const caller = new Caller({ ...shared, checkReplies: options.checkReplies ?? false });
  const server = new Server(shared);
  let garbage = 0;
  let forged = 0;
  for (const transport of transports)
    transport.open({
      frame: (bytes, via, claim) => {
        if (claim && !server.mayEnter(claim)) return;
        const f = decodeFrame(bytes);
        if (!f) garbage++;
        else if (claim && !isTrue(claim, f)) forged++;
        else if (isCallFrame(f)) server.frame(f, via);
        else caller.frame(f, via);
      },
      forged: () => {
        forged++;
      },
      unreachable: (name, tag) => caller.unreachable(name, tag),
      broken: (name, to) => caller.broken(name, to),
      changed: (name) => caller.changed(name),
    });

  const issue = (
    contract: Contract,
    op: string,
    to: number,
    request: unknown,
    callOptions: CallOptions,
  ): { done: Promise<Reply<unknown>>; cancel: () => void } => {
    let settle: (reply: Reply<unknown>) => void = () => {};
    const done = new Promise<Reply<unknown>>((resolve) => {
      settle = resolve;
    });
    if (!mayCall(contract.ops[op]?.callers, self, to)) {
      // The bus would drop it without a word.
      settle(fail('EPERM', `${contract.name}.${op} is not for ${node}-${service}`));
      return { done, cancel: () => {} };
    }
    const cancel = caller.call(contract, op, to, request, callOptions, false, settle);
    return { done, cancel };
  };

  return {
    self,
    // The types of a call are known from its contract; below this line everything is one Reply.
    call: <O extends Op>(...[contract, op, to, request, o]: Parameters<Ics['call']>) =>
      issue(contract, op, to, request, o ?? {}).done as Promise<CallReply<O>>,
    request: <O extends Op>(...[contract, op, to, request, o]: Parameters<Ics['request']>) => {
      const pending = issue(contract, op, to, request, o ?? {});
      return { done: pending.done as Promise<CallReply<O>>, cancel: pending.cancel };
    },
    send: (contract, op, to, request, o) => {
      caller.call(contract, op, to, request, o ?? {}, true, (reply) => {
        if (!reply.ok)
          log.debug('a message was not delivered', {
            to,
            op: `${contract.name}.${op}`,
            errno: reply.errno,
          });
      });
    },
    versions: (contract, to) => caller.versions(to, contract.name),
    serve: (contract: Contract, handlers: object, o: ServeOptions = {}) => {
      server.serve(contract, handlers as Readonly<Record<string, Handler | undefined>>, o);
      for (const transport of transports) transport.serve(contract.name);
    },
    setView: (next: View, me?: MemberId) => {
      if (view && next.transid < view.transid) return;
      const former = incarnation;
      if (me && me.num === node && node !== 0) incarnation = me.incarnation;
      if (former && incarnation && !sameIncarnation(former, incarnation)) caller.reborn();
      view = next;
      from = incarnation ? { ...self, incarnation } : self;
      server.setView(next);
      caller.setView(next);
    },
    close: async () => {
      caller.close();
      server.close();
      await Promise.all(transports.map((t) => t.close()));
    },
    peers: () =>
      [...caller.peers].map((peer) => {
        const rttMs: Partial<Record<TransportName, number>> = {};
        for (const p of peer.paths.all)
          if (p.srttMs !== undefined) rttMs[p.transport.name] = p.srttMs;
        return {
          node: peer.node,
          contract: peer.contract,
          transport: peer.paths.current?.transport.name,
          rttMs,
          ready: peer.paths.all.filter((p) => peer.paths.ready(p)).map((p) => p.transport.name),
          suspect: peer.paths.all.filter((p) => p.suspect).map((p) => p.transport.name),
          pending: peer.channels.reduce((n, c) => n + (c?.slots.size ?? 0), peer.waitingCount),
        };
      }),
    counters: () => ({
      ...caller.counters(),
      ...server.counters(),
      garbage,
      forged,
    }),
    probe: (peerNode, contract) => caller.probe(peerNode, contract),
    learn: (peerNode, contract, bootId) => caller.doubt(peerNode, contract, bootId),
  };
}

/** Whether a frame is from whom, and asks for what, its transport saw. */
function isTrue(claim: Claim, f: CallFrame | ReplyFrame): boolean {
  const { from } = f;
  if (from.node !== claim.node) return false;
  if (claim.service !== undefined && from.service !== claim.service) return false;
  if (claim.instance !== undefined && from.bootId !== claim.instance) return false;
  if (claim.contract !== undefined && f.contract !== claim.contract) return false;
  return claim.op === undefined || (isCallFrame(f) && f.op === claim.op);
}
