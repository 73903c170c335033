// Wires vproc together: which part serves which operation, and the order of a start. The same code runs
// in production, hosted with others, and in the simulator: all it touches of the world is in VprocDeps.
import { fail, type MemberId, type OriginEntry, ok, upMembers, vproc } from '@ssi/contracts';
import { linkRouter } from '@ssi/ics';
import { type Handlers, refusals, type ServedCall } from '@ssi/ports';
import { refusal } from './access.ts';
import { ActorSpawns } from './actor-spawn.ts';
import { Actors } from './actors.ts';
import { withActors } from './adapters/actor-ports.ts';
import { memoryRecords } from './adapters/ports.none.ts';
import { Attachments } from './attach.ts';
import { untilDone } from './backoff.ts';
import { toOriginEntry, toProcessInfo } from './exec-table.ts';
import { FloatingAddresses } from './floating-addresses.ts';
import { Holds } from './holds.ts';
import { LocalNode, type VprocDeps } from './local-node.ts';
import { LocalProcesses } from './local-processes.ts';
import { MembershipLink } from './membership-link.ts';
import { Migrations } from './migrations.ts';
import { MoveParts } from './move-parts.ts';
import { Moves } from './moves.ts';
import { Origin } from './origin.ts';
import { inRange } from './pid.ts';
import { Reporter } from './reporter.ts';
import { Retention } from './retention.ts';
import { Runs } from './run.ts';
import { Signals } from './signals.ts';
import { Ssisys } from './ssisys.ts';
import { Stubs } from './stubs.ts';

export interface Vproc {
  /** Resolves when this node serves; it goes on trying as long as its membership does not answer. */
  start(): Promise<void>;
  /** Stops serving; programs go on. What is under way continues after the next start. */
  stop(): Promise<void>;
}

/** A nodedown step's view is here in ms: membership applied it before it called. */
const stepViewMs = 5_000;

export function createVproc(given: VprocDeps): Vproc {
  const { actorRecords: records = memoryRecords() } = given.ports;
  const actors = new Actors({ ...given, records });
  const ownRange = (pid: number): boolean =>
    node.view !== undefined && inRange(node.num, pid, node.view.pidBits);
  const deps: VprocDeps = {
    ...given,
    ports: withActors({ base: given.ports, actors, clock: given.clock, records, ownRange }),
  };
  const node: LocalNode = new LocalNode(deps);
  const moves = new Moves();
  const startedMs = deps.clock.nowMs();
  const link = new MembershipLink(node);
  let booted = (): void => {};
  const ready = new Promise<void>((done) => {
    booted = done;
  });

  const local: LocalProcesses = new LocalProcesses(
    node,
    ({ changed, gone }) => {
      reporter.tell(changed, gone);
      retention.look();
      void holds.sync();
    },
    (entry, status) => {
      void retention.exited(entry, status);
      if (entry.run?.addr !== undefined) void addresses.release(entry.run.addr);
    },
  );
  const attachments = new Attachments({ node, local, moves });
  const retention = new Retention({ node, local, moves, attachments });
  const origin: Origin = new Origin(node, {
    census,
    changed: () => void holds.sync(),
    refresh: () => local.refresh(),
    reaped: (pid) => local.reaped(pid),
  });
  const stubs: Stubs = new Stubs(node, local, deps.ports.stubRecords ?? memoryRecords());
  stubs.onGone = () => void holds.sync();
  const holds: Holds = new Holds(node, local, origin.table, () => stubs.pids());
  const reporter = new Reporter(node, {
    current,
    elsewhere: (pid) => moves.of(pid) !== undefined || moves.whereWent(pid) !== undefined,
    applyHere: (entries, gone) => origin.apply(entries, gone, node.num),
  });
  const parts = new MoveParts({
    node,
    local,
    moves,
    holds,
    reporter,
    stubs,
    streamsMoved: (owner, to) => {
      retention.gone(owner);
      attachments.moved(owner, to);
    },
    applyHere: (entries) => origin.apply(entries, [], node.num),
  });
  const migrations = new Migrations(parts);
  const addresses: FloatingAddresses = new FloatingAddresses({ node, local, moves });
  const runs = new Runs(node, local, addresses);
  const signals = new Signals({ node, local, moves, origin });
  const actorSpawns = new ActorSpawns({ node, local, actors, moves, migrations });
  const ssisys = new Ssisys({ node, local, moves, stubs, migrations });

  moves.onOver = (pids) => {
    reporter.tell(
      pids.flatMap((pid) => current(pid) ?? []),
      [],
    );
    retention.look();
    void holds.sync();
  };

  /** What this node says of a pid now. */
  function current(pid: number): OriginEntry | undefined {
    const told = moves.of(pid)?.tells(pid);
    if (told) return told;
    const entry = local.table.get(pid);
    return entry ? toOriginEntry(entry, node.num) : local.exits.get(pid);
  }

  async function census(range: number): Promise<OriginEntry[]> {
    for (const move of [...moves.active.values()]) await move.decided();
    await local.refresh();
    const pids = new Set([...local.exits.keys(), ...local.table.keys()]);
    for (const e of moves.told()) pids.add(e.pid);
    const own = [...pids].flatMap((pid) => current(pid) ?? []);
    // As surrogate it may know of ends that nobody else does.
    const ends = [...origin.table.values()].filter((e) => e.phase === 'exited' && !pids.has(e.pid));
    return Origin.ofRange([...own, ...ends], range, node.view?.pidBits ?? 16);
  }

  async function nodedown(dead: readonly MemberId[], transid: number, call: ServedCall) {
    if (!(await node.atView(transid, stepViewMs)))
      return fail('EIO', `not at transid ${transid} yet`);
    for (const move of [...moves.active.values()]) await move.decided();
    await origin.nodedown(dead, call.context);
    return ok({});
  }

  async function list() {
    await local.refresh();
    const processes = [...local.table.values()].map((e) =>
      toProcessInfo(e, {
        node: node.num,
        origin: node.originOf(e.pid) ?? node.num,
        moving: moves.of(e.pid)?.holdsSignals() ?? false,
        frozen: node.frozen,
      }),
    );
    return ok({ processes });
  }

  async function resize(request: { pid: number; rows: number; cols: number }) {
    await moves.settled(request.pid);
    const owner = local.table.get(request.pid)?.owner;
    if (owner === undefined) return moves.notHere(request.pid, node.num);
    const { rows, cols } = request;
    const done = await deps.ports.streams.resize(owner, { rows, cols });
    if (done.ok) return ok({});
    return fail(done.errno === 'EIO' ? 'EAGAIN' : 'ENOTTY', done.detail);
  }

  function status() {
    const counters = {
      processes: local.table.size,
      originEntries: origin.table.size,
      held: holds.all().length,
      moves: moves.active.size,
      ...refusals(deps.ics),
    };
    const state = node.frozen ? 'frozen' : node.claimed ? 'serving' : 'starting';
    return ok({ service: 'vproc', state, uptimeMs: deps.clock.nowMs() - startedMs, counters });
  }

  const handlers: Handlers<typeof vproc> = {
    view: (q) => {
      link.heard();
      node.applyView(q.view, q.self, q.leased);
      return ok();
    },
    status,
    nodedown: (q, call) => nodedown(q.dead, q.transid, call),
    run: (q) => runs.run(q),
    list,
    where: (q, call) => origin.where(q, call),
    wait: (q, call) => origin.wait(q, call),
    report: (q, call) => origin.report(q, call),
    census: async (q) => {
      if (!(await node.atView(q.transid, stepViewMs)))
        return fail('EAGAIN', 'not at your view yet');
      return ok({ entries: await census(q.range), numbers: [] });
    },
    signal: (q, call) => signals.signal(q, call),
    deliver: (q) => signals.deliver(q),
    migrate: (q, call) => migrations.migrate(q, call),
    whyNot: (q, call) => migrations.whyNot(q, call),
    moveNegotiate: (q, call) => migrations.negotiate(q, call),
    moveRestore: (q, call) => migrations.restore(q, call),
    moveCommit: (q, call) => migrations.commit(q, call),
    moveAbort: (q, call) => migrations.abort(q, call),
    moveStatus: (q) => migrations.status(q),
    actorSpawn: (q, call) => actorSpawns.spawn(q, call),
    actorHost: (q) => actors.announced(q),
    attach: (q, call) => attachments.attach(q, call),
    resize,
    rexec: (q, call) => migrations.rexec(q, call),
    rfork: (q, call) => actorSpawns.rfork(q, call),
  };

  /** As far as this node knows it: where the process runs or ended, and at its origin. */
  const ownerOf = (pid: number): number | undefined => {
    const here = local.table.get(pid);
    return here?.run?.uid ?? here?.uid ?? (local.exits.get(pid) ?? origin.table.get(pid))?.uid;
  };

  /** Everything but membership's word waits until what was here before the start is known again. */
  function gated(all: Handlers<typeof vproc>): Handlers<typeof vproc> {
    const open = new Set(['view', 'status']);
    const wrap = ([op, handler]: [string, unknown]): [string, unknown] => [
      op,
      open.has(op)
        ? handler
        : async (q: unknown, call: ServedCall) => {
            await ready;
            const refused = refusal(op, q, call, ownerOf);
            if (refused) return refused;
            return (handler as (q: unknown, call: ServedCall) => unknown)(q, call);
          },
    ];
    return Object.fromEntries(Object.entries(all).map(wrap)) as Handlers<typeof vproc>;
  }

  /** [SIGCLUSTER]: programs that asked for it hear of each change of who is UP. */
  function watchCluster(): void {
    node.onView((view, before) => {
      const up = (v: typeof view): string =>
        upMembers(v)
          .map((m) => m.num)
          .join();
      if (!before || up(view) === up(before)) return;
      for (const e of local.table.values())
        if (e.run?.sigcluster !== undefined)
          void deps.ports.processes.signal(e, e.run.sigcluster, 0);
    });
  }

  async function start(): Promise<void> {
    deps.ics.serve(vproc, gated(handlers));
    deps.ports.guard.watch((frozen) => {
      const thawed = node.frozen && !frozen;
      node.frozen = frozen;
      // The guard took the addresses away when the lease ended.
      if (thawed) void addresses.settle();
    });
    node.listener = await deps.streams.listen();
    await link.look();
    await holds.adopt();
    const paused = await migrations.pausedOwners();
    retention.adopted(await untilDone(node, 'streams', () => deps.ports.streams.adopt(paused)));
    await stubs.adopt();
    await migrations.adopt();
    await local.start();
    await addresses.settle();
    retention.wake();
    booted();
    ssisys.start();
    // Before this node is UP nothing may be started here: first the numbers in use elsewhere are held.
    await origin.rebuild(node.num);
    await holds.sync();
    node.claimed = true;
    watchCluster();
    await link.attach();
    void reporter.correct();
    if (deps.setMap) node.followRouter(linkRouter({ ...deps, setMap: deps.setMap }));
  }

  return {
    start,
    async stop() {
      node.stop();
      ssisys.stop();
      actors.stop();
      await node.listener?.close();
    },
  };
}
