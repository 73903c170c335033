// Moves an actor where criu moves a tree, with the same promises: `dump` is its host's freeze, `restore` the
// other host's install.
import { actorPieceMax, fail, ok, type Reply } from '@ssi/contracts';
import { type Clock, sleep } from '@ssi/ports';
import { type Actors, isActorRef } from '../actors.ts';
import type { Criu, Dump, DumpRequest, DumpResult, ImageChunk, ProcessRef } from '../ports.ts';
import { type ActorImages, imageName } from './actor-images.ts';

const context = { priority: 1 } as const;
const patienceMs = 20;
const triesMax = 100;

export interface ActorMoverDeps {
  readonly base: Criu;
  readonly actors: Actors;
  readonly clock: Clock;
  readonly images: ActorImages;
  /** An actor comes home: its placeholder was let go for the move, and stays with it again. */
  stand(pid: number): Promise<void>;
}

export class ActorMover implements Criu {
  private readonly q: ActorMoverDeps;
  private readonly base: Criu;

  constructor(q: ActorMoverDeps) {
    this.q = q;
    this.base = q.base;
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
    const image = await this.q.images.read(request.moveId);
    if (!image) return this.base.restore(request);
    const { actors, clock } = this.q;
    const startMs = clock.nowMs();
    const birth = actors.nextBirth();
    const id = { pid: request.root, birth };
    await this.q.stand(request.root);
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
