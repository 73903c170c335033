// Makes actors processes: the ports of the machine with the node's actors beside its native processes, so
// that the table, signals, waits and the move protocol, with its records, are the same for both. An
// actor's `dump` is its host's freeze, its image one file, its `restore` the other host's install.
import {
  actorImageMax,
  actorPieceMax,
  fail,
  type MoveReason,
  ok,
  type Reply,
} from '@ssi/contracts';
import { type Clock, sleep } from '@ssi/ports';
import { type Actors, isActorRef } from '../actors.ts';
import type {
  Criu,
  Dump,
  DumpRequest,
  DumpResult,
  Guard,
  ImageChunk,
  Images,
  MoveRecords,
  Preflight,
  Processes,
  ProcessRef,
  VprocPorts,
} from '../ports.ts';

const imageName = 'actor.img';
/** What must be at the target is named like a file. */
const typePrefix = 'actor:';
const context = { priority: 1 } as const;
const patienceMs = 20;
const triesMax = 100;

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
  const images = new ActorImages(q);
  const guard = actorGuard(q);
  return {
    ...base,
    guard,
    processes: actorProcesses(base.processes, actors),
    images,
    criu: new ActorMover(q, images, guard),
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

/** Images of actors are in memory and on record; those of native trees where they always are. */
class ActorImages implements Images {
  private readonly base: Images;
  private readonly records: MoveRecords;
  private readonly arriving = new Map<string, Uint8Array[]>();
  private readonly whole = new Map<string, Uint8Array>();

  constructor(q: ActorPorts) {
    this.base = q.base.images;
    this.records = q.records;
  }

  create(moveId: string): ReturnType<Images['create']> {
    return this.base.create(moveId);
  }
  async write(moveId: string, chunk: ImageChunk): ReturnType<Images['write']> {
    if (chunk.name !== imageName) return this.base.write(moveId, chunk);
    const pieces = chunk.offset === 0 ? [] : (this.arriving.get(moveId) ?? []);
    const filled = pieces.reduce((sum, p) => sum + p.length, 0);
    if (filled !== chunk.offset || filled + chunk.data.length > actorImageMax)
      return fail('EINVAL', 'pieces of an image come in order');
    // The message's memory is its reader's.
    pieces.push(chunk.data.slice());
    this.arriving.set(moveId, pieces);
    if (!chunk.last) return ok();
    const image = Buffer.concat(pieces);
    this.arriving.delete(moveId);
    this.whole.set(moveId, image);
    return this.records.write(moveId, { image: image.toString('base64') });
  }
  /** undefined: not of an actor. */
  async read(moveId: string): Promise<Uint8Array | undefined> {
    const here = this.whole.get(moveId);
    if (here) return here;
    const stored = await this.records.list();
    if (!stored.ok) return undefined;
    const record = stored.value.find((r) => r.moveId === moveId)?.record as { image?: string };
    return record?.image === undefined ? undefined : Buffer.from(record.image, 'base64');
  }
  async remove(moveId: string): ReturnType<Images['remove']> {
    this.arriving.delete(moveId);
    this.whole.delete(moveId);
    const [native, own] = [await this.base.remove(moveId), await this.records.remove(moveId)];
    return native.ok ? own : native;
  }
  async list(): ReturnType<Images['list']> {
    const [native, stored] = [await this.base.list(), await this.records.list()];
    if (!native.ok || !stored.ok) return native;
    const own = stored.value.filter((r) => 'image' in (r.record as object)).map((r) => r.moveId);
    return ok([...new Set([...native.value, ...own])].sort());
  }
  freeBytes(): Promise<number> {
    return this.base.freeBytes();
  }
}

/** Moves an actor where criu moves a tree, with the same promises. */
class ActorMover implements Criu {
  private readonly q: ActorPorts;
  private readonly base: Criu;
  private readonly images: ActorImages;
  private readonly guard: ActorGuard;

  constructor(q: ActorPorts, images: ActorImages, guard: ActorGuard) {
    this.q = q;
    this.guard = guard;
    this.base = q.base.criu;
    this.images = images;
  }

  version(): ReturnType<Criu['version']> {
    return this.base.version();
  }
  prepare(moveId: string): Promise<void> {
    return this.base.prepare(moveId);
  }
  discard(moveId: string): Promise<void> {
    return this.base.discard(moveId);
  }
  cleanUp(): ReturnType<Criu['cleanUp']> {
    return this.base.cleanUp();
  }

  dump(request: DumpRequest): Dump {
    const found = this.q.actors.find(request.root);
    return found ? this.freeze(request, found) : this.base.dump(request);
  }

  private freeze(request: DumpRequest, ref: ProcessRef): Dump {
    const { actors, clock } = this.q;
    const { moveId, to } = request;
    let settle: (result: Awaited<Dump['done']>) => void = () => {};
    const done: Dump['done'] = new Promise((d) => {
      settle = d;
    });
    async function* chunks(): AsyncGenerator<ImageChunk> {
      const startMs = clock.nowMs();
      const id = { pid: ref.pid, birth: ref.startTicks };
      for (let offset = 0; ; ) {
        const piece = await actors.ask(
          'freeze',
          { ...id, moveId, offset, ...(to === undefined ? {} : { to }) },
          context,
        );
        if (!piece.ok) {
          await actors.ask('resume', id, context);
          settle(fail(piece.errno === 'ESRCH' ? 'ESRCH' : 'EIO', piece.detail));
          return;
        }
        const { data, totalBytes, stopped } = piece.value;
        const last = offset + data.length >= totalBytes;
        yield { name: imageName, offset, data, last };
        offset += data.length;
        if (!last) continue;
        const result: DumpResult = {
          freezeAtMs: startMs,
          frozenMs: clock.nowMs() - startMs,
          bytes: totalBytes,
          tasks: [{ pid: ref.pid, startTicks: ref.startTicks }],
          stoppedBefore: stopped ? [ref.pid] : [],
        };
        settle(ok(result));
        return;
      }
    }
    return { chunks: chunks(), done };
  }

  async restore(request: Parameters<Criu['restore']>[0]): ReturnType<Criu['restore']> {
    const image = await this.images.read(request.moveId);
    if (!image) return this.base.restore(request);
    const { actors, clock } = this.q;
    const startMs = clock.nowMs();
    const birth = actors.nextBirth();
    const id = { pid: request.root, birth };
    await this.guard.stand(request.root);
    const expected = await actors.expect({ ...id, uid: 0, type: '' });
    if (!expected.ok) return fail('ECANCELED', expected.detail);
    for (let offset = 0; offset < image.length; offset += actorPieceMax) {
      const data = image.subarray(offset, offset + actorPieceMax);
      const piece = { ...id, moveId: request.moveId, offset, totalBytes: image.length, data };
      const reply = await this.again(() => actors.ask('install', piece, context));
      if (!reply.ok) {
        await actors.ask('destroy', id, context);
        await actors.forget(id);
        return fail('ECANCELED', `${reply.errno} ${reply.detail}`);
      }
      if (reply.value.info) await actors.arrived(id, reply.value.info);
    }
    const tasks = [{ pid: request.root, startTicks: birth }];
    return ok({ tasks, restoreMs: clock.nowMs() - startMs });
  }

  /** A host that is just busy, or starting, is asked again; it knows what it did before. */
  private async again<R extends Reply<unknown>>(ask: () => Promise<R>): Promise<R> {
    for (let tries = 0; ; tries++) {
      const reply = await ask();
      const later = !reply.ok && (reply.errno === 'ETIMEDOUT' || reply.errno === 'EAGAIN');
      if (!later || tries >= 3) return reply;
      await sleep(this.q.clock, patienceMs);
    }
  }

  async resume(
    tasks: readonly ProcessRef[],
    stoppedBefore: readonly number[],
  ): ReturnType<Criu['resume']> {
    const native = tasks.filter((t) => !isActorRef(t));
    for (const t of tasks.filter(isActorRef)) {
      const id = { pid: t.pid, birth: t.startTicks };
      const reply = await this.q.actors.ask('resume', id, context);
      // It ended meanwhile, or its host did: its end is told like any other.
      if (!reply.ok && this.q.actors.has(t.pid) && reply.errno !== 'ESRCH')
        return fail('EIO', `${reply.errno} ${reply.detail}`);
    }
    return native.length > 0 ? this.base.resume(native, stoppedBefore) : ok();
  }

  async destroy(tasks: readonly ProcessRef[]): ReturnType<Criu['destroy']> {
    const native = tasks.filter((t) => !isActorRef(t));
    for (const t of tasks.filter(isActorRef)) {
      const id = { pid: t.pid, birth: t.startTicks };
      for (let tries = 0; ; tries++) {
        // Its host is dead, and so is it.
        if (!this.q.actors.has(t.pid)) break;
        const reply = await this.q.actors.ask('destroy', id, context);
        if (reply.ok) break;
        if (tries >= triesMax) return fail('ETIMEDOUT', `${reply.errno} ${reply.detail}`);
        await sleep(this.q.clock, patienceMs);
      }
      await this.q.actors.forget(id);
    }
    return native.length > 0 ? this.base.destroy(native) : ok();
  }
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
