// kill(2) over nodes: the origin passes a signal on to where the process executes, and follows it; a
// group's signal goes to every node at once. What is between two nodes waits until it has arrived.
import { type Errno, fail, ok, type Reply, vproc } from '@ssi/contracts';
import type { CallContext, ServedCall } from '@ssi/ports';
import type { ExecEntry } from './exec-table.ts';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';
import type { Moves } from './moves.ts';
import type { Origin } from './origin.ts';
import { type Delivery, maySignal, mergeDeliveries, validSignal } from './signal.ts';

interface SignalRequest {
  readonly pid: number;
  readonly signal: number;
  readonly uid: number;
}
type SignalErrno = 'ESRCH' | 'EPERM' | 'EINVAL' | 'EREMCHG' | 'EAGAIN';
type Delivered = Delivery & { moved?: { pid: number; node: number }[] };

/** A process that moves all the time is followed this often. */
const followMax = 16;

export class Signals {
  private readonly node: LocalNode;
  private readonly local: LocalProcesses;
  private readonly moves: Moves;
  private readonly origin: Origin;

  constructor(q: { node: LocalNode; local: LocalProcesses; moves: Moves; origin: Origin }) {
    this.node = q.node;
    this.local = q.local;
    this.moves = q.moves;
    this.origin = q.origin;
  }

  /** Asked of the origin. */
  async signal(request: SignalRequest, call: ServedCall): Promise<Reply<Delivery, SignalErrno>> {
    if (!validSignal(request.signal)) return fail('EINVAL', `no signal ${request.signal}`);
    if (request.pid === 0) return fail('EINVAL', 'a client has no process group of its own');
    if (request.pid > 0) return this.toProcess(request, call);
    return this.toGroup(request, call);
  }

  private async toProcess(
    request: SignalRequest,
    call: ServedCall,
  ): Promise<Reply<Delivery, SignalErrno>> {
    let last = '';
    for (let i = 0; i < followMax && !call.signal.aborted; i++) {
      const entry = await this.origin.entryOf(request.pid, call);
      if (!entry.ok) return entry;
      if (entry.value.phase === 'exited') return fail('ESRCH', `${request.pid} has ended`);
      const reply = await this.deliverAt(entry.value.node, request, call);
      if (reply.ok || reply.errno === 'EPERM' || reply.errno === 'EINVAL')
        return reply as Reply<Delivery, SignalErrno>;
      if (reply.errno === 'ESRCH' && this.origin.table.get(request.pid)?.node === entry.value.node)
        return fail('ESRCH', reply.detail);
      // It moved on, or its node is going down: the table learns of it in a moment.
      last = `${reply.errno} ${reply.detail}`;
      await this.pause(Math.min(500, 10 * 2 ** i));
    }
    return fail('EAGAIN', `it could not be reached: ${last}`);
  }

  private pause(ms: number): Promise<void> {
    return new Promise((done) => {
      this.node.deps.clock.after(ms, done);
    });
  }

  private deliverAt(
    num: number,
    request: SignalRequest,
    call: ServedCall,
  ): Promise<Reply<Delivered, Errno>> {
    if (num === this.node.num) return this.deliver(request);
    return this.node.deps.ics.call(vproc, 'deliver', num, request, {
      context: call.context as CallContext,
    }) as Promise<Reply<Delivered, Errno>>;
  }

  /** Members may be on any node, and their pids from any range: all nodes are asked. */
  private async toGroup(
    request: SignalRequest,
    call: ServedCall,
  ): Promise<Reply<Delivery, SignalErrno>> {
    const nodes = [this.node.num, ...this.node.peers()];
    const replies = await Promise.all(nodes.map((n) => this.deliverAt(n, request, call)));
    const moved = replies.flatMap((r) => (r.ok ? (r.value.moved ?? []) : []));
    const late = await Promise.all(
      moved.map((m) => this.deliverAt(m.node, { ...request, pid: m.pid }, call)),
    );
    // ESRCH of most nodes only says that no member is there.
    return mergeDeliveries([...replies, ...late]) as Reply<Delivery, SignalErrno>;
  }

  /** Asked of the execution node. */
  async deliver(request: SignalRequest): Promise<Reply<Delivered, SignalErrno>> {
    if (!validSignal(request.signal)) return fail('EINVAL', `no signal ${request.signal}`);
    return request.pid > 0 ? this.deliverOne(request) : this.deliverGroup(request);
  }

  private async deliverOne(request: SignalRequest): Promise<Reply<Delivered, SignalErrno>> {
    const { pid } = request;
    await this.moves.settled(pid);
    if (!this.local.table.has(pid)) await this.local.refresh();
    const entry = this.local.table.get(pid);
    if (!entry) {
      const went = this.moves.whereWent(pid);
      return went === undefined
        ? fail('ESRCH', `no process ${pid} on node ${this.node.num}`)
        : fail('EREMCHG', `${pid} moved to node ${went}`, went);
    }
    return this.send(entry, request);
  }

  private async deliverGroup(request: SignalRequest): Promise<Reply<Delivered, SignalErrno>> {
    const pgid = -request.pid;
    await this.local.refresh();
    const members = [...this.local.table.values()].filter((e) => e.pgid === pgid);
    const moved: { pid: number; node: number }[] = [];
    const replies: Reply<Delivered, Errno>[] = [];
    for (const member of members) {
      await this.moves.settled(member.pid);
      const went = this.moves.whereWent(member.pid);
      if (went !== undefined && !this.local.table.has(member.pid))
        moved.push({ pid: member.pid, node: went });
      else replies.push(await this.send(member, request));
    }
    const all = mergeDeliveries(replies);
    if (all.ok || moved.length > 0)
      return ok({ delivered: all.ok ? all.value.delivered : 0, moved });
    return all as Reply<Delivered, SignalErrno>;
  }

  private async send(entry: ExecEntry, q: SignalRequest): Promise<Reply<Delivered, SignalErrno>> {
    if (!maySignal(q.uid, entry.uid))
      return fail('EPERM', `${entry.pid} belongs to user ${entry.uid}`);
    const target = { pid: entry.pid, startTicks: entry.startTicks };
    const sent = await this.node.deps.ports.processes.signal(target, q.signal, 0);
    return sent.ok ? ok({ delivered: 1 }) : sent;
  }
}
