// What programs of this node ask of it by themselves, through libssi (infra/native/ssi.h): the second half of
// rfork(3ssi). The child was forked by fork(2) and waits inside of its call, so it is a real child with a
// number of this node; all that is left is to move it. Each request may be repeated. [ssisys(2ssi)]
import { fail, findMember, ok, type Reply } from '@ssi/contracts';
import type { ProgramCaller } from '@ssi/ports';
import { withSpan } from '@ssi/telemetry';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';
import type { Migrations } from './migrations.ts';
import type { Moves } from './moves.ts';
import type { Subscription } from './ports.ts';
import type { Stubs } from './stubs.ts';

export class Ssisys {
  private readonly node: LocalNode;
  private readonly local: LocalProcesses;
  private readonly moves: Moves;
  private readonly stubs: Stubs;
  private readonly migrations: Migrations;
  private served: Subscription | undefined;

  constructor(q: {
    node: LocalNode;
    local: LocalProcesses;
    moves: Moves;
    stubs: Stubs;
    migrations: Migrations;
  }) {
    this.node = q.node;
    this.local = q.local;
    this.moves = q.moves;
    this.stubs = q.stubs;
    this.migrations = q.migrations;
  }

  start(): void {
    this.served = this.node.deps.ports.ssisys?.serve((caller, words) => this.answer(caller, words));
  }
  stop(): void {
    this.served?.stop();
  }

  private async answer(caller: ProgramCaller, words: readonly string[]): Promise<Reply<string>> {
    const [op, first, second] = words;
    await this.local.refresh();
    if (!this.local.table.has(caller.pid))
      return fail('EPERM', `${caller.pid} is no program of node ${this.node.num}`);
    if (op === 'node') return ok(String(this.node.num));
    if (op === 'streams') return this.streams(caller);
    if (op === 'rfork') return this.rfork(caller, Number(first), Number(second));
    return fail('ENOSYS', `no request "${op}"`);
  }

  /** Output streams of its own, as `run` gives them: those of its parent stay where that is. */
  private async streams(caller: ProgramCaller): Promise<Reply<string>> {
    const { pid, uid, gid } = caller;
    const { streams } = this.node.deps.ports;
    const entry = this.local.table.get(pid);
    if (entry?.sid !== pid) return fail('EINVAL', `${pid} leads no session`);
    const known = streams.paths(pid);
    const made = known ? ok(known) : await streams.create({ owner: pid, uid, gid, noInput: true });
    if (!made.ok) return fail(made.errno, `standard streams: ${made.detail}`);
    if (!('out' in made.value)) return fail('EEXIST', `${pid} has a terminal`);
    const { hop, born, startTicks } = entry;
    const run = { tty: false, pin: false, uid, gid };
    await this.local.admit({ pid, startTicks }, { hop, born, owner: pid, run }, {});
    return ok(`${made.value.out} ${made.value.err}`);
  }

  /** Its parenthood gives the caller the right to it. */
  private async rfork(caller: ProgramCaller, pid: number, to: number): Promise<Reply<string>> {
    const { node, moves, stubs } = this;
    if (!node.view || !findMember(node.view, to)) return fail('EINVAL', `no node ${to}`);
    // A request before this one may have got far: it counts.
    for (let move = moves.of(pid); move; move = moves.of(pid)) await move.over;
    const child = await node.deps.ports.processes.inspect(pid);
    if (child?.ppid !== caller.pid) return fail('ESRCH', `${caller.pid} has no child ${pid}`);
    if (stubs.has(pid) || to === node.num) return ok('');
    const request = { pid, to, uid: 0 };
    const moved = await withSpan(node.deps.tracer, 'rfork', {}, (traceparent) => {
      const context = { priority: 0 as const, ...(traceparent ? { traceparent } : {}) };
      return this.migrations.migrate(request, { context });
    });
    if (moved.ok) return ok('');
    // Another move was faster: its end says where the child is.
    return moved.errno === 'EBUSY' && moves.of(pid) ? this.rfork(caller, pid, to) : moved;
  }
}
