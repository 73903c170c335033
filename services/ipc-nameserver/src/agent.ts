// What clients of this node ask: names go to the nameserver, calls to the node that has the object. Where
// that is stays known here until an object is not found there: then the nameserver is asked once more.
import {
  fail,
  type IpcBinding,
  type IpcCred,
  type IpcErrno,
  type IpcRequest,
  type IpcResult,
  ipc,
  ok,
  type Reply,
  type ReplyOf,
  type RequestOf,
} from '@ssi/contracts';
import type { KeyCalls } from '@ssi/ics';
import { type CallContext, type Clock, type Ics, sleep } from '@ssi/ports';
import { checkName } from './key.ts';
import type { LocalNode } from './local-node.ts';
import { type Manager, ownerKey } from './manager.ts';
import type { Nameserver } from './nameserver.ts';
import { newData } from './objects/object.ts';
import { Sessions } from './sessions.ts';

/** A nameserver is waited for; then EAGAIN. */
const namingMs = 10_000;
const retryMs = 20;
/** In the place of a node: it is gone for good, since no id comes again. */
const gone = 0;
const placesMax = 100_000;
/** How often a call follows an object that moves on. */
const hopsMax = 3;
/** Longer than anything waits: a call ends by its object, by its client or with a node. */
const longestMs = 20 * 86_400_000;

type Get = RequestOf<typeof ipc.ops.get>;
type Ask = RequestOf<typeof ipc.ops.call>;
type GetReply = Reply<
  ReplyOf<typeof ipc.ops.get>,
  'EACCES' | 'EEXIST' | 'EINVAL' | 'ENAMETOOLONG' | 'ENOENT' | 'ENOSPC' | 'EAGAIN' | 'ESRCH'
>;
type AskReply = Reply<IpcResult, IpcErrno | 'ESRCH'>;

export interface Caller {
  readonly cred: IpcCred;
  readonly signal: AbortSignal;
  readonly context: CallContext;
}

export interface AgentDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly node: LocalNode;
  readonly names: KeyCalls;
  readonly manager: Manager;
  readonly nameserver: Nameserver;
  readonly active: () => boolean;
}

const over = () => fail('ESRCH', 'the session has ended: its ends are closed, its undo is applied');

export class Agent {
  readonly #d: AgentDeps;
  readonly #places = new Map<number, number>();
  readonly sessions: Sessions;
  #asked = 0;
  readonly counters = { gets: 0, calls: 0, redirected: 0 };

  constructor(deps: AgentDeps) {
    this.#d = deps;
    this.sessions = new Sessions(deps.clock, (session) => {
      const { ics, node, manager } = deps;
      manager.ownerEnded(ownerKey({ node: node.num, session }));
      for (const num of node.up()) if (num !== node.num) ics.send(ipc, 'ended', num, { session });
    });
  }

  async get(q: Get, who: Caller): Promise<GetReply> {
    this.counters.gets++;
    if (!this.sessions.get(q.session)) return over();
    const { manager, node, ics } = this.#d;
    const attributes = q.attributes ?? {};
    const named = q.name === undefined ? ok() : checkName(q.type, q.name);
    if (!named.ok) return named;
    // A set is found with 0 semaphores too; every other attribute has to be right only for a new one.
    const fit = q.create || q.name === undefined ? newData(q.type, attributes, who.cred) : ok();
    const lookup = {
      ...{ type: q.type, mode: q.mode, cred: who.cred, bootId: ics.self.bootId },
      ...{ create: (q.create ?? false) && fit.ok, exclusive: q.exclusive ?? false },
      ...(q.name !== undefined && { name: q.name }),
      ...(q.type === 'sem' && { nsems: attributes.nsems ?? 0 }),
      madeBy: `${++this.#asked}`,
    };
    if (q.name === undefined && !fit.ok) return fit;
    const creator = ownerKey({ node: node.num, session: q.session });
    const asking = this.#untilNamed(lookup, who).then((reply) => {
      if (!reply.ok) return reply;
      const { binding, created } = reply.value;
      if (created) manager.install(binding, attributes, who.cred, creator);
      this.#placed(binding);
      return ok({ id: binding.id, node: binding.node, created });
    });
    const reply = await (lookup.create || q.name === undefined ? manager.making(asking) : asking);
    // It is the attributes that were wrong: there was none to be found instead.
    return !reply.ok && reply.errno === 'ENOENT' && q.create && !fit.ok ? fit : reply;
  }

  /** The asking has a number: to repeat it finds what it made. */
  async #untilNamed(q: RequestOf<typeof ipc.ops.lookup>, { context }: Caller) {
    const { clock, manager, nameserver, names, node, active } = this.#d;
    const endMs = clock.nowMs() + namingMs;
    for (;;) {
      const reply = active()
        ? await nameserver.lookup(q, node.num)
        : await names.call(ipc, 'lookup', q, { context });
      // One of a nameserver that has a successor was told to somebody who is gone.
      const used = reply.ok && reply.value.epoch >= manager.epoch;
      if (used) return reply;
      if (!reply.ok && isFinal(reply.errno)) return reply as Reply<never, 'ENOENT'>;
      if (clock.nowMs() >= endMs || node.stopped)
        return fail('EAGAIN', 'no nameserver answers at the moment; try again');
      await sleep(clock, retryMs);
    }
  }

  #placed({ id, node }: Pick<IpcBinding, 'id' | 'node'>): void {
    this.#places.delete(id);
    this.#places.set(id, node);
    const [oldest] = this.#places.keys();
    if (this.#places.size > placesMax && oldest !== undefined) this.#places.delete(oldest);
  }

  async #locate(id: number, context: CallContext): Promise<Reply<number, 'EINVAL' | 'EAGAIN'>> {
    const { clock, nameserver, names, active } = this.#d;
    const endMs = clock.nowMs() + namingMs;
    for (;;) {
      const reply = active()
        ? await nameserver.locate(id)
        : await names.call(ipc, 'locate', { id }, { context });
      if (reply.ok) {
        this.#placed(reply.value.binding);
        return ok(reply.value.binding.node);
      }
      if (reply.errno === 'EINVAL') return fail('EINVAL', reply.detail);
      if (clock.nowMs() >= endMs) return fail('EAGAIN', 'no nameserver answers at the moment');
      await sleep(clock, retryMs);
    }
  }

  async call(q: Ask, who: Caller): Promise<AskReply> {
    this.counters.calls++;
    const { clock, manager, node } = this.#d;
    if (!this.sessions.get(q.session)) return over();
    const known = manager.has(q.id) ? node.num : this.#places.get(q.id);
    if (known === gone) return lost(q.request);
    let to = known;
    const endMs = clock.nowMs() + namingMs;
    for (let hops = 0; hops <= hopsMax; ) {
      if (to === undefined) {
        const found = await this.#locate(q.id, who.context);
        if (!found.ok && found.errno === 'EINVAL' && known !== undefined) return this.#lose(q);
        if (!found.ok) return found;
        to = found.value;
      }
      const { reply, answered } = await this.#operate(to, q, who);
      if (reply.ok) return reply;
      if (reply.errno === 'EREMCHG') {
        this.counters.redirected++;
        this.#places.delete(q.id);
        to = reply.node;
        if (to !== undefined) this.#placed({ id: q.id, node: to });
        hops++;
      } else if (answered || who.signal.aborted) {
        return who.signal.aborted ? fail('EINTR', 'the client gave up') : (reply as AskReply);
      } else if (!didNotRun(reply.errno) || clock.nowMs() >= endMs) {
        // It went down, or the service there was started anew: with either its objects went.
        return this.#lose(q);
      } else await sleep(clock, retryMs);
    }
    return fail('EAGAIN', `object ${q.id} moves on faster than it is followed`);
  }

  #lose({ id, request }: Ask): AskReply {
    this.#placed({ id, node: gone });
    return lost(request);
  }

  async #operate(to: number, q: Ask, who: Caller) {
    const { ics, manager, node } = this.#d;
    const request = {
      ...{ id: q.id, cred: who.cred, request: q.request },
      owner: { node: node.num, session: q.session },
      ...(q.waitMs !== undefined && { waitMs: q.waitMs }),
    };
    if (to === node.num)
      return { reply: await manager.operate(request, who.signal), answered: true };
    let answered = false;
    const reply = await ics.call(ipc, 'operate', to, request, {
      ...{ timeoutMs: longestMs, context: who.context, signal: who.signal },
      onAnswered: () => {
        answered = true;
      },
    });
    return { reply, answered };
  }
}

/** Nothing is in doubt: the name is right or wrong. */
const isFinal = (errno: string): boolean =>
  ['EACCES', 'EEXIST', 'EINVAL', 'ENAMETOOLONG', 'ENOENT', 'ENOSPC'].includes(errno);

const didNotRun = (errno: string): boolean => ['EHOSTUNREACH', 'EAGAIN', 'ESTALE'].includes(errno);

/** What a single machine says of an object that is gone. */
function lost({ op }: IpcRequest): AskReply {
  if (op === 'read') return ok({ text: new Uint8Array() });
  if (op === 'write') return fail('EPIPE', 'the node that had it is gone');
  if (op === 'close') return ok({});
  return fail('EIDRM', 'it was removed, or the node that had it is gone');
}
