// The actor host of a node: serves the `actor` contract. vproc creates, signals and moves actors by it,
// senders deliver to it. One for each node, in whatever process links this library.
import {
  type ActorExit,
  type ActorInfo,
  actor,
  actorImageMax,
  actorPieceMax,
  fail,
  ok,
  type Reply,
  type RequestOf,
  type ServiceEndpoint,
} from '@ssi/contracts';
import { type Clock, type Handlers, type Ics, type Log, noLog } from '@ssi/ports';
import type { ActorDefinition, ActorEffect } from './define.ts';
import { type Delivered, HostedActor, type HostedDeps, type HostedIdentity } from './hosted.ts';
import { decodeImage } from './image.ts';
import { Registration } from './registration.ts';
import { signalName } from './signal-name.ts';

/** Actors of one host. */
const actorsMax = 4_096;
/** Where moved actors went, and what ended ones answered: remembered for so many; the oldest goes first. */
const wentMax = 4_096;
const endedMax = 256;
/** Signals that do nothing by default, stop, and go on. [signal(7)] */
const ignored: ReadonlySet<number> = new Set([17, 23, 28]);
const stopping: ReadonlySet<number> = new Set([19, 20, 21, 22]);
const continuing = 18;

export interface ActorHostOptions {
  /** Endpoint (node, `actor`) of its own. */
  readonly ics: Ics;
  readonly clock: Clock;
  readonly node: number;
  readonly actors: readonly ActorDefinition[];
  /** By type, then by the effect's name; `reply` is taken. */
  readonly effects?: Readonly<Record<string, Readonly<Record<string, ActorEffect>>>>;
  readonly log?: Log;
  /** This process's own id, for membership's list. Default 0. */
  readonly servicePid?: number;
  /** Where it is reached directly, for the node map. */
  readonly tcp?: readonly { readonly host: string; readonly port: number }[];
  readonly setMap?: (map: readonly ServiceEndpoint[]) => void;
}

export interface ActorHost {
  readonly node: number;
  actors(): ActorInfo[];
  /** Ends its actors as SIGKILL would. Idempotent. */
  close(): Promise<void>;
}

type Ops = (typeof actor)['ops'];

export function createActorHost(options: ActorHostOptions): ActorHost {
  return new Host(options);
}

class Host implements ActorHost {
  readonly node: number;
  private readonly options: ActorHostOptions;
  private readonly log: Log;
  private readonly definitions: ReadonlyMap<string, ActorDefinition>;
  private readonly running = new Map<number, HostedActor>();
  private readonly ended = new Map<number, HostedActor>();
  private readonly exits = new Map<string, ActorExit>();
  private readonly went = new Map<number, number>();
  private readonly arriving = new Map<string, { data: Uint8Array; filled: number }>();
  private readonly registration: Registration;
  private readonly startedMs: number;
  private delivered = 0;
  private closed = false;

  constructor(options: ActorHostOptions) {
    this.options = options;
    this.node = options.node;
    this.log = options.log ?? noLog;
    this.startedMs = options.clock.nowMs();
    this.definitions = new Map(options.actors.map((d) => [d.type, d]));
    options.ics.serve(actor, this.handlers());
    this.registration = new Registration({
      ics: options.ics,
      clock: options.clock,
      node: options.node,
      servicePid: options.servicePid ?? 0,
      types: [...this.definitions.keys()],
      tcp: options.tcp ?? [],
      setMap: options.setMap,
      actors: () => this.actors(),
      exits: () => [...this.exits.values()],
      taken: (ends) => {
        for (const e of ends) this.exits.delete(`${e.pid} ${e.birth}`);
      },
      strangers: (all) => {
        for (const q of all) if (this.destroy(q)) this.log.warn('not of this node any more', q);
      },
      disowned: (life) => {
        this.log.warn('this node began another life: its actors ended with the last one');
        // vproc may have heard of that life first and started one in it.
        for (const a of [...this.running.values()]) if (a.id.life !== life) this.destroy(a.id);
        this.exits.clear();
      },
      considered: () => {
        for (const a of this.running.values()) a.consider();
      },
    });
  }

  actors(): ActorInfo[] {
    return [...this.running.values()].map((a) => a.info);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.registration.stop();
    for (const a of this.running.values()) a.end(fail('ESRCH', 'its host has stopped'));
    this.running.clear();
    await this.options.ics.close();
  }

  private handlers(): Handlers<typeof actor> {
    return {
      view: (q) => {
        this.registration.view(q);
        return ok();
      },
      nodedown: () => ok({}),
      status: () =>
        ok({
          service: 'actor',
          state: this.registration.mayRun ? 'serving' : 'frozen',
          uptimeMs: this.options.clock.nowMs() - this.startedMs,
          counters: { actors: this.running.size, delivered: this.delivered },
        }),
      create: (q, { from }) => this.create(q, from.incarnation?.bootId ?? ''),
      fork: (q) => this.fork(q),
      deliver: (q) => this.deliver(q),
      freeze: (q) => this.freeze(q),
      install: (q, { from }) => this.install(q, from.incarnation?.bootId ?? ''),
      resume: (q) => {
        const found = this.find(q);
        found?.resume();
        return found ? ok({}) : fail('ESRCH', `no actor ${q.pid} on node ${this.node}`);
      },
      destroy: (q) => {
        this.destroy(q);
        return ok({});
      },
      signal: (q) => this.signal(q),
      list: () =>
        ok({
          types: [...this.definitions.keys()],
          actors: this.actors(),
          exits: [...this.exits.values()],
        }),
    };
  }

  private find(q: { pid: number; birth: number }): HostedActor | undefined {
    const found = this.running.get(q.pid);
    return found?.id.birth === q.birth ? found : undefined;
  }

  private hosted(id: HostedIdentity, definition: ActorDefinition): HostedActor {
    const deps: HostedDeps = {
      clock: this.options.clock,
      log: this.log,
      node: this.node,
      mayRun: () => this.registration.mayRun,
      effects: this.options.effects?.[definition.type] ?? {},
      ended: () => this.exit(hosted, { code: 0, signal: null }),
      changed: () => this.registration.changed(),
    };
    const hosted = new HostedActor(id, definition, deps);
    return hosted;
  }

  private create(
    q: RequestOf<Ops['create']>,
    life: string,
  ): Reply<Record<string, never>, Ops['create']['errnos'][number]> {
    const definition = this.definitions.get(q.type);
    if (!definition) return this.noType(q.type);
    if (this.closed || this.running.size >= actorsMax)
      return fail('ESHUTDOWN', `${this.running.size} actors: this host takes no more`);
    if (this.find(q)) return ok({});
    if (this.running.has(q.pid)) return fail('EEXIST', `actor ${q.pid} runs here`);
    const hosted = this.hosted({ pid: q.pid, birth: q.birth, uid: q.uid, life }, definition);
    this.add(hosted);
    const started = hosted.start(q.input);
    if (started.ok) return ok({});
    this.running.delete(q.pid);
    return started;
  }
  private noType(type: string) {
    const known = [...this.definitions.keys()].sort().join(' ');
    return fail('ENOENT', `node ${this.node} has no actor type ${type}; it has: ${known}`);
  }
  private add(hosted: HostedActor): void {
    const { pid } = hosted.id;
    this.went.delete(pid);
    this.ended.delete(pid);
    this.running.set(pid, hosted);
    this.registration.changed();
  }

  private fork(
    q: RequestOf<Ops['fork']>,
  ): Reply<{ info: ActorInfo }, Ops['fork']['errnos'][number]> {
    const before = this.find(q.child);
    if (before) return ok({ info: before.info });
    const found = this.find(q);
    if (!found) return fail('ESRCH', `no actor ${q.pid} on node ${this.node}`);
    if (found.frozenFor !== undefined) return fail('EBUSY', `${q.pid} is being moved`);
    if (this.running.has(q.child.pid)) return fail('EEXIST', `actor ${q.child.pid} runs here`);
    if (this.closed || this.running.size >= actorsMax)
      return fail('ESHUTDOWN', `${this.running.size} actors: this host takes no more`);
    const child = this.hosted({ ...found.id, ...q.child }, found.definition);
    child.load(found.forkImage());
    this.add(child);
    return ok({ info: child.info });
  }

  private deliver(q: RequestOf<Ops['deliver']>): Delivered | Promise<Delivered> {
    const found = this.running.get(q.pid);
    if (found) {
      this.delivered++;
      return found.deliver(q);
    }
    const to = this.went.get(q.pid);
    if (to !== undefined) return fail('EREMCHG', `${q.pid} moved to node ${to}`, to);
    return (
      this.ended.get(q.pid)?.recall(q) ?? fail('ESRCH', `no actor ${q.pid} on node ${this.node}`)
    );
  }

  private freeze(q: RequestOf<Ops['freeze']>) {
    const found = this.find(q);
    if (!found) return fail('ESRCH', `no actor ${q.pid} on node ${this.node}`);
    // One that has just come, or was forked, may go on before it ever ran here.
    if (found.frozenFor && found.frozenFor !== q.moveId)
      return fail('EBUSY', `${q.pid} is being moved already`);
    const image = found.freeze(q.moveId, q.to);
    if (image.length > actorImageMax) {
      found.resume();
      return fail('EMSGSIZE', `an image of ${image.length} bytes`);
    }
    return ok({
      data: image.subarray(q.offset, q.offset + actorPieceMax),
      totalBytes: image.length,
      stopped: found.isStopped,
    });
  }

  private install(
    q: RequestOf<Ops['install']>,
    life: string,
  ): Reply<{ info?: ActorInfo }, Ops['install']['errnos'][number]> {
    if (this.closed || this.running.size >= actorsMax)
      return fail('ESHUTDOWN', 'this host takes no more');
    const found = this.find(q);
    if (found) return ok({ info: found.info });
    if (this.running.has(q.pid)) return fail('EEXIST', `actor ${q.pid} runs here`);
    // The first piece begins anew: an attempt before this one was given up.
    if (q.offset === 0)
      this.arriving.set(q.moveId, { data: new Uint8Array(q.totalBytes), filled: 0 });
    const arriving = this.arriving.get(q.moveId);
    if (arriving?.filled !== q.offset || q.offset + q.data.length > arriving.data.length)
      return fail('ERANGE', 'pieces of an image come in order');
    arriving.data.set(q.data, q.offset);
    arriving.filled += q.data.length;
    if (arriving.filled < arriving.data.length) return ok({});
    this.arriving.delete(q.moveId);
    const image = decodeImage(arriving.data);
    if (!image) return fail('EBADMSG', 'this is no image of an actor');
    const definition = this.definitions.get(image.type);
    if (!definition) return this.noType(image.type);
    const hosted = this.hosted({ pid: q.pid, birth: q.birth, uid: image.uid, life }, definition);
    hosted.load(image);
    this.add(hosted);
    return ok({ info: hosted.info });
  }

  private destroy(q: { pid: number; birth: number }): boolean {
    const found = this.find(q);
    if (!found) return false;
    this.running.delete(q.pid);
    const { movingTo } = found;
    if (movingTo === undefined) found.end(fail('ESRCH', `${q.pid} is not here any more`));
    else {
      this.went.set(q.pid, movingTo);
      trim(this.went, wentMax);
      found.end(fail('EREMCHG', `${q.pid} moved to node ${movingTo}`, movingTo));
    }
    this.registration.changed();
    return true;
  }

  private signal(q: RequestOf<Ops['signal']>): Reply<Record<string, never>, 'ESRCH' | 'EAGAIN'> {
    const found = this.find(q);
    if (!found) return fail('ESRCH', `no actor ${q.pid} on node ${this.node}`);
    if (found.frozenFor !== undefined) return fail('EAGAIN', `${q.pid} is being moved`);
    if (ignored.has(q.signal)) return ok({});
    if (q.signal === continuing) found.stop(false);
    else if (stopping.has(q.signal)) found.stop(true);
    else {
      found.end(fail('ESRCH', `${q.pid} was ended by ${signalName(q.signal)}`));
      this.exit(found, { code: null, signal: signalName(q.signal) });
    }
    return ok({});
  }

  private exit(hosted: HostedActor, how: Pick<ActorExit, 'code' | 'signal'>): void {
    const { pid, birth } = hosted.id;
    if (this.running.get(pid) !== hosted) return;
    this.running.delete(pid);
    this.ended.set(pid, hosted);
    trim(this.ended, endedMax);
    this.exits.set(`${pid} ${birth}`, { pid, birth, ...how });
    this.registration.changed();
  }
}

function trim<K>(map: Map<K, unknown>, max: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= max) return;
    map.delete(oldest);
  }
}
