// The actors of this node, as vproc knows them: the host (a process that links libs/client) runs them and
// tells of them; here they have their numbers, are started, and are remembered over a restart of vproc.
// To the rest of vproc they are processes like any other: adapters/actor-ports.ts makes them so.
import {
  type ActorExit,
  type ActorInfo,
  actor,
  type ExitStatus,
  fail,
  ok,
  type Reply,
  type RequestOf,
  type vproc,
} from '@ssi/contracts';
import type { CallContext, Clock, Ics, Log } from '@ssi/ports';
import { untilDone } from './backoff.ts';
import type { ExitRecord, MoveRecords, ProcessRef, ScannedProcess } from './ports.ts';

/**
 * Births of actors, in ticks, lie above all starts of native processes: 2^35 ticks are 10.9 years of
 * uptime. So a reference says by itself which kind it is, also after a restart.
 */
export const actorBirthBase = 2 ** 35;
export const isActorRef = (ref: { readonly startTicks?: number }): boolean =>
  (ref.startTicks ?? 0) >= actorBirthBase;
/** Its start, ms of CLOCK_BOOTTIME in ticks of 10 ms. */
export const birthTicks = (birth: number): number => birth - actorBirthBase;

/** The host is asked after this silence, ms; after the second nobody under its name means it is dead. */
const doubtMs = 3_000;
const deadMs = 5_000;
const lookMs = 1_000;
const answerMs = 1_000;
/** An end stays on record this long, ms, so that a vproc that dies meanwhile tells it again. */
const endKeptMs = 2_000;
/** Hosts whose place another one took. */
const displacedMax = 64;

interface KnownActor {
  readonly pid: number;
  readonly birth: number;
  /** Boot id of the host it runs in; '' until that has announced itself. */
  host: string;
  readonly uid: number;
  readonly type: string;
  state: ActorInfo['state'];
  /** Its host has not answered yet that it is there. */
  coming: boolean;
  ended?: { readonly atMs: number };
}
type StoredActor = Pick<KnownActor, 'pid' | 'birth' | 'host' | 'uid' | 'type'>;

export interface ActorDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly log: Log;
  readonly num: number;
  /** On the node's tmpfs, as `records`; keys of 32 hex digits. */
  readonly records: MoveRecords;
}

type HostRequest = RequestOf<(typeof vproc)['ops']['actorHost']>;
type Ref = { readonly pid: number; readonly birth: number };
const recordKey = (pid: number): string => pid.toString(16).padStart(32, '0');

export class Actors {
  readonly deps: ActorDeps;
  private readonly known = new Map<number, KnownActor>();
  private readonly listeners = new Set<(exits: readonly ExitRecord[]) => void>();
  private readonly displaced = new Set<string>();
  private host: { bootId: string; version: number; types: ReadonlySet<string> } | undefined;
  private heardMs: number;
  private lastBirth = 0;
  stopped = false;
  readonly loaded: Promise<void>;

  constructor(deps: ActorDeps) {
    this.deps = deps;
    this.heardMs = deps.clock.nowMs();
    this.loaded = this.load();
    this.watch();
  }

  private async load(): Promise<void> {
    const stored = await untilDone(this, 'actors', () => this.deps.records.list());
    for (const { record } of stored) {
      const a = record as Partial<StoredActor>;
      if (typeof a.pid !== 'number' || typeof a.birth !== 'number') continue;
      this.lastBirth = Math.max(this.lastBirth, a.birth);
      this.known.set(a.pid, { ...(a as StoredActor), state: 'running', coming: false });
    }
  }

  stop(): void {
    this.stopped = true;
  }

  get hosted(): boolean {
    return this.host !== undefined;
  }
  canRun(type: string): boolean {
    return this.host?.types.has(type) ?? false;
  }
  has(pid: number): boolean {
    return this.live(pid) !== undefined;
  }
  find(pid: number): ScannedProcess | undefined {
    const found = this.live(pid);
    return found && scanned(found);
  }
  scan(): ScannedProcess[] {
    return [...this.known.values()].filter((a) => !a.ended).map(scanned);
  }
  private live(pid: number): KnownActor | undefined {
    const found = this.known.get(pid);
    return found?.ended ? undefined : found;
  }

  onExits(fn: (exits: readonly ExitRecord[]) => void): { stop(): void } {
    this.listeners.add(fn);
    return { stop: () => this.listeners.delete(fn) };
  }

  /** Another number than any birth before, also before a restart. */
  nextBirth(): number {
    const now = actorBirthBase + Math.floor(this.deps.clock.nowMs() / 10);
    this.lastBirth = Math.max(now, this.lastBirth + 1);
    return this.lastBirth;
  }

  /** On record before the host hears of it: what it runs and is not on record is a stranger. */
  async expect(q: {
    pid: number;
    birth: number;
    uid: number;
    type: string;
  }): Promise<Reply<undefined, 'EIO'>> {
    // Not the host that was heard last: the call may come to the next one, which has not told of itself yet.
    const entry: KnownActor = { ...q, host: '', state: 'frozen', coming: true };
    this.known.set(q.pid, entry);
    const written = await this.write(entry);
    if (written.ok) return ok();
    this.known.delete(q.pid);
    return fail('EIO', `the actor's record was not written: ${written.detail}`);
  }
  private write({ pid, birth, host, uid, type }: KnownActor) {
    const record: StoredActor = { pid, birth, host, uid, type };
    return this.deps.records.write(recordKey(pid), record);
  }
  /** Of an actor that is here already: asked again until it is written, or is not so any more. */
  private async store(entry: KnownActor): Promise<void> {
    const stale = (): boolean => this.known.get(entry.pid) !== entry;
    await untilDone<unknown>(this, 'an actor', async () => (stale() ? ok() : this.write(entry)));
  }
  /** It is there. `info`: as its image said. */
  async arrived(q: Ref, info?: ActorInfo): Promise<void> {
    const entry = this.known.get(q.pid);
    if (entry?.birth !== q.birth) return;
    const now: KnownActor = { ...entry, ...(info ?? { state: 'running' }), coming: false };
    this.known.set(q.pid, now);
    if (info) await this.store(now);
  }
  async forget(q: Ref): Promise<void> {
    if (this.known.get(q.pid)?.birth !== q.birth) return;
    this.known.delete(q.pid);
    await untilDone<unknown>(this, 'the record of an actor', async () =>
      this.known.has(q.pid) ? ok() : this.deps.records.remove(recordKey(q.pid)),
    );
  }

  /** The host's word. Idempotent. */
  async announced(
    q: HostRequest,
  ): Promise<
    Reply<{ known: number; taken: { pid: number; birth: number }[]; strangers: Ref[] }, 'EBUSY'>
  > {
    await this.loaded;
    if (this.displaced.has(q.bootId))
      return fail('EBUSY', `another host serves node ${this.deps.num} now`);
    this.take(q.bootId);
    this.heardMs = this.deps.clock.nowMs();
    const taken = q.exits.filter((e) => this.takeExit(e)).map(({ pid, birth }) => ({ pid, birth }));
    const strangers = q.actors ? this.compare(q.bootId, q.actors) : [];
    if (this.host) {
      this.host.types = new Set(q.types);
      if (q.actors) this.host.version = q.version;
    }
    return ok({ known: this.host?.version ?? -1, taken, strangers });
  }

  /** A new host: those of the one before are dead. */
  private take(bootId: string): void {
    if (this.host?.bootId === bootId) return;
    if (this.host) {
      this.displaced.add(this.host.bootId);
      for (const oldest of this.displaced) {
        if (this.displaced.size <= displacedMax) break;
        this.displaced.delete(oldest);
      }
    }
    this.host = { bootId, version: -1, types: new Set() };
    this.endAll((a) => a.host !== bootId && a.host !== '');
  }

  /** True: told long enough ago that the host may forget it. */
  private takeExit(e: ActorExit): boolean {
    const entry = this.known.get(e.pid);
    if (entry?.birth !== e.birth) return true;
    if (!entry.ended) {
      const { pid, code, signal } = e;
      this.end(entry, { pid, code, signal });
      return false;
    }
    if (this.deps.clock.nowMs() - entry.ended.atMs < endKeptMs) return false;
    void this.forget(e);
    return true;
  }

  private end(entry: KnownActor, status: ExitStatus): void {
    entry.ended = { atMs: this.deps.clock.nowMs() };
    const { pid, birth } = entry;
    for (const tell of this.listeners) tell([{ pid, startTicks: birth, status }]);
  }
  /** No host will tell of these ends: what is on record of them goes by itself. */
  private endAll(which: (a: KnownActor) => boolean): void {
    for (const a of this.known.values()) {
      if (a.ended || !which(a)) continue;
      a.host = '';
      this.end(a, { pid: a.pid, code: null, signal: 'SIGKILL' });
    }
  }

  private compare(bootId: string, actors: readonly ActorInfo[]): Ref[] {
    const strangers: Ref[] = [];
    const listed = new Set<number>();
    for (const a of actors) {
      const entry = this.known.get(a.pid);
      if (entry?.birth === a.birth && !entry.ended) {
        entry.state = a.state;
        listed.add(a.pid);
        if (entry.host === '') {
          entry.host = bootId;
          void this.store(entry);
        }
      } else strangers.push({ pid: a.pid, birth: a.birth });
    }
    const ofHost = (a: KnownActor): boolean => a.host === bootId || a.host === '';
    const missing = (a: KnownActor): boolean =>
      !a.ended && !a.coming && ofHost(a) && !listed.has(a.pid);
    // What was told may be older than what we did since: asked once more before it is believed.
    if ([...this.known.values()].some(missing)) void this.verify(bootId);
    return strangers;
  }

  private async verify(bootId: string): Promise<void> {
    const before = new Set([...this.known.values()].filter((a) => !a.coming));
    const reply = await this.deps.ics.call(
      actor,
      'list',
      this.deps.num,
      {},
      { timeoutMs: answerMs },
    );
    if (!reply.ok || this.host?.bootId !== bootId) return;
    for (const e of reply.value.exits) this.takeExit(e);
    const there = new Set(reply.value.actors.map((a) => `${a.pid} ${a.birth}`));
    this.endAll((a) => before.has(a) && !there.has(`${a.pid} ${a.birth}`));
  }

  private watch(): void {
    this.deps.clock.after(lookMs, () => {
      if (this.stopped) return;
      void this.look().then(() => this.watch());
    });
  }
  private async look(): Promise<void> {
    const now = this.deps.clock.nowMs();
    // An end of a host that is dead itself: nobody asks for it again.
    for (const a of [...this.known.values()])
      if (a.ended && now - a.ended.atMs > endKeptMs && a.host !== this.host?.bootId)
        await this.forget(a);
    const silent = (): number => this.deps.clock.nowMs() - this.heardMs;
    if (silent() < doubtMs || (!this.host && this.known.size === 0)) return;
    const options = { timeoutMs: answerMs };
    const reply = await this.deps.ics.call(actor, 'list', this.deps.num, {}, options);
    const tookMs = this.deps.clock.nowMs() - now;
    if (reply.ok) this.heardMs = this.deps.clock.nowMs();
    // Told at once that nobody is there. After the whole time no interconnect was: that says nothing.
    else if (reply.errno === 'EHOSTUNREACH' && tookMs < answerMs / 2 && silent() >= deadMs) {
      this.deps.log.warn('the actor host is gone, its actors are dead', {
        actors: this.known.size,
      });
      this.host = undefined;
      this.endAll(() => true);
    }
  }

  /** Of an actor that is here: what the host says to a signal. */
  async signal(ref: ProcessRef, signal: number): Promise<Reply<undefined, 'ESRCH'>> {
    const gone = fail('ESRCH', `no actor ${ref.pid} on node ${this.deps.num}`);
    if (this.live(ref.pid)?.birth !== ref.startTicks) return gone;
    if (signal === 0) return ok();
    for (let tries = 0; tries < 5; tries++) {
      const request = { pid: ref.pid, birth: ref.startTicks, signal };
      const reply = await this.ask('signal', request, { priority: 1 });
      if (reply.ok) return ok();
      if (reply.errno === 'ESRCH') return gone;
    }
    return fail('ESRCH', `the host of ${ref.pid} does not answer`);
  }

  ask<K extends 'create' | 'fork' | 'freeze' | 'install' | 'resume' | 'destroy' | 'signal'>(
    op: K,
    request: RequestOf<(typeof actor)['ops'][K]>,
    context: CallContext,
  ) {
    return this.deps.ics.call(actor, op, this.deps.num, request, { context, timeoutMs: 2_000 });
  }
}

const scanned = (a: KnownActor): ScannedProcess => ({
  pid: a.pid,
  startTicks: a.birth,
  ppid: 0,
  pgid: a.pid,
  sid: a.pid,
  tids: [],
  state: a.state === 'running' ? 'sleeping' : 'stopped',
  command: a.type,
  uid: a.uid,
  rssBytes: 0,
  cpuMs: 0,
  kind: 'actor',
});
