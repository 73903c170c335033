// Makes actors processes: the ports of the machine with the node's actors beside its native processes, so
// that the table, signals, waits and the move protocol, with its records, are the same for both. An
// actor's `dump` is its host's freeze, its image one file, its `restore` the other host's install.
import { fail, type MoveReason, ok } from '@ssi/contracts';
import type { Clock } from '@ssi/ports';
import type { Actors } from '../actors.ts';
import type { Guard, MoveRecords, Preflight, Processes, VprocPorts } from '../ports.ts';
import { ActorImages } from './actor-images.ts';
import { ActorMover } from './actor-mover.ts';

/** What must be at the target is named like a file. */
const typePrefix = 'actor:';

export interface ActorPorts {
  readonly base: VprocPorts;
  readonly actors: Actors;
  readonly clock: Clock;
  readonly records: MoveRecords;
  /** Is this a number that this node hands out? */
  ownRange(pid: number): boolean;
}

export function withActors(q: ActorPorts): VprocPorts {
  const { base, actors } = q;
  const images = new ActorImages(base.images, q.records);
  const guard = actorGuard(q);
  return {
    ...base,
    guard,
    processes: actorProcesses(base.processes, actors),
    images,
    criu: new ActorMover({ ...q, base: base.criu, images, stand: (pid) => guard.stand(pid) }),
    preflight: actorPreflight(base.preflight, actors),
  };
}

interface ActorGuard extends Guard {
  /** An actor comes home: its placeholder was let go for the move, and stays with it again. */
  stand(pid: number): Promise<void>;
}

/**
 * An actor's number is held by a placeholder while it lives: where others think of a process that is its
 * own placeholder, nothing happens here.
 */
function actorGuard({ base: { guard: base }, actors, ownRange }: ActorPorts): ActorGuard {
  /** Placeholders that stand for an actor of this node, or for one that has just left it. */
  const standing = new Set<number>();
  actors.onExits((exits) => {
    for (const { pid } of exits) if (standing.delete(pid)) void base.release(pid);
  });
  return {
    async stand(pid) {
      if (ownRange(pid) && (await base.hold(pid)).ok) standing.add(pid);
    },
    status: () => base.status(),
    watch: (fn) => base.watch(fn),
    killPrograms: () => base.killPrograms(),
    holdAny: async () => {
      const number = await base.holdAny();
      if (number.ok) standing.add(number.value);
      return number;
    },
    hold: async (pid) => {
      if (standing.delete(pid)) return ok();
      return base.hold(pid);
    },
    release: async (pid) => {
      if (actors.has(pid)) {
        standing.add(pid);
        return ok();
      }
      standing.delete(pid);
      return base.release(pid);
    },
    held: async () => {
      await actors.loaded;
      const held = await base.held();
      // Those of actors that live here are no business of whoever keeps numbers for emigrants.
      if (!held.ok) return held;
      for (const n of held.value) if (actors.has(n)) standing.add(n);
      return ok(held.value.filter((n) => !standing.has(n)));
    },
  };
}

function actorProcesses(base: Processes, actors: Actors): Processes {
  return {
    async scan() {
      await actors.loaded;
      const found = await base.scan();
      if (!found.ok) return found;
      return ok([...found.value, ...actors.scan()].sort((a, b) => a.pid - b.pid));
    },
    inspect: async (pid) => actors.find(pid) ?? base.inspect(pid),
    followExits(from, onExits) {
      let position = from ?? '';
      const native = base.followExits(from, (exits, at) => {
        position = at;
        onExits(exits, at);
      });
      const own = actors.onExits((exits) => onExits(exits, position));
      return {
        stop: () => {
          native.stop();
          own.stop();
        },
      };
    },
    async signal(target, signal, uid) {
      const found = actors.find(target.pid);
      if (!found) return base.signal(target, signal, uid);
      if (uid !== 0 && uid !== found.uid)
        return fail('EPERM', `${target.pid} belongs to user ${found.uid}`);
      return actors.signal(
        { pid: found.pid, startTicks: target.startTicks ?? found.startTicks },
        signal,
      );
    },
  };
}

function actorPreflight(base: Preflight, actors: Actors): Preflight {
  return {
    kernel: () => base.kernel(),
    cpuFlags: () => base.cpuFlags(),
    async inspect(options) {
      const found = options.pids.flatMap((pid) => actors.find(pid) ?? []);
      if (found.length === 0) return base.inspect(options);
      const files = found.map((a) => ({ path: `${typePrefix}${a.command}`, sizeBytes: 0 }));
      return ok({ reasons: [], files, bytesEstimate: 0 });
    },
    async opened(options) {
      const pids = options.pids.filter((pid) => !actors.find(pid));
      return pids.length === 0 ? { reasons: [] } : base.opened({ ...options, pids });
    },
    async checkFiles(files) {
      const native = files.filter((f) => !f.path.startsWith(typePrefix));
      const reasons: MoveReason[] = [...(await base.checkFiles(native))];
      for (const { path } of files) {
        const type = path.startsWith(typePrefix) ? path.slice(typePrefix.length) : undefined;
        if (type !== undefined && !actors.canRun(type))
          reasons.push({ code: 'EKIND', detail: `the target hosts no actors of type ${type}` });
      }
      return reasons;
    },
    checkNumbers: (numbers, held) => base.checkNumbers(numbers, held),
  };
}
