// Users of the lock manager, by the library for clients: they take, convert and give up locks on few resources
// while the cluster is hurt and its lock managers are started again. All that they see goes into one history,
// for the linearizability checker.
import { type Lock, type Lockspace, openLockspace } from '@ssi/client';
import { fail, type LockGrant, type LockMode, ok, type Reply, type View } from '@ssi/contracts';
import { createIcs, type IcsEndpoint } from '@ssi/ics';
import type { HistoryEvent, LockInput, LockOutput } from '@ssi/linearizability';
import { type Ics, sleep } from '@ssi/ports';
import type { SimRandom } from '@ssi/sim';
import type { ViewsChecker } from './checkers/views.ts';
import type { SimCluster } from './cluster.ts';
import { bytesRound, type Ending, type Recorder, under } from './lock-more.ts';
import type { SimNode } from './node.ts';

export type LockEvent = HistoryEvent<LockInput, LockOutput>;

const resources = ['r1', 'r2'];
const modes: readonly LockMode[] = ['EX', 'EX', 'EX', 'EX', 'PW', 'PW', 'PR', 'PR', 'PR', 'CR'];
const pauseMs = [5, 300] as const;
const holdMs = [5, 600] as const;
/** Longest wait for a lock. */
const timeoutMs = 2_000;
/** A session that was not heard for this long may be over: it is, after 10 s. */
const silenceMs = 7_000;
/** A lock manager hears of the next life of its node within this. */
const newLifeMs = 4_000;
const flags = ['VALBLK'] as const;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const words = (value: Uint8Array): string => new TextDecoder().decode(value).replaceAll('\0', '');

/** A lock that somebody has, or may have. */
interface Owner {
  readonly name: string;
  readonly resource: string;
  readonly session: Session;
}
interface Session {
  readonly id: string;
  readonly space: Lockspace;
  readonly node: SimNode;
  /** The boot of the node that keeps it, and its life in the view. */
  readonly boot: string;
  readonly bootId: string | undefined;
  readonly heard: Heard;
  /** It may be over without its client's doing: its node was not UP, or heard nothing of it for long. */
  inDoubt: boolean;
  /** Lost, or given up by its client. */
  over: boolean;
  locks: number;
}
interface Heard {
  /** When a word of the client last got there for sure. */
  ms: number;
  /** When the view first showed the node in another life. */
  replacedMs: number;
}

export class LockWork {
  readonly history: LockEvent[] = [];
  readonly counts = new Map<string, number>();
  readonly #cluster: SimCluster;
  readonly #views: ViewsChecker;
  readonly #random: SimRandom;
  readonly #clients: IcsEndpoint[] = [];
  readonly #sessions = new Set<Session>();
  readonly #owners = new Set<Owner>();
  #on = true;
  /** Also locks under locks, and byte ranges. */
  readonly #more: boolean;
  #opened = 0;
  #values = 0;
  /** Clients whose last round has not ended. */
  busy = 0;

  constructor(cluster: SimCluster, views: ViewsChecker, clients: number, more = false) {
    this.#more = more;
    this.#cluster = cluster;
    this.#views = views;
    const { world } = cluster;
    this.#random = world.random('locks');
    for (let i = 1; i <= clients; i++) {
      const life = cluster.clientLife(`l${i}`);
      const self = { node: 0, service: `l${i}` };
      const transports = [world.bus.transport(self, 0, life)];
      const random = world.random(`l${i}.ics`);
      const ics = createIcs({ ...self, clock: life.clock, random, transports, checkReplies: true });
      this.#clients.push(cluster.calls.watch(ics, life));
    }
    // Some hear of no view, like those on a node that is cut off: what they hold they lose by the word of its lock manager.
    views.onView((view) => {
      this.#clients.forEach((ics, i) => {
        if (i % 2 === 0) ics.setView(view);
      });
    });
  }

  start(): void {
    for (const ics of this.#clients) {
      this.busy += 1;
      void this.#client(ics).then(() => {
        this.busy -= 1;
      });
    }
  }

  stop(): void {
    this.#on = false;
  }

  /** After each event: from when on a lock may be lost without its owner's doing. */
  look(): void {
    const nowMs = this.#cluster.world.clock.nowMs();
    for (const session of this.#sessions) {
      const { node, boot, heard, bootId } = session;
      const member = this.#member(node);
      const up = member?.state === 'UP';
      if (up && member.incarnation.bootId !== bootId)
        heard.replacedMs = Math.min(heard.replacedMs, nowMs);
      const same = node.up && node.boot === boot;
      if (!up || !same || nowMs - heard.ms > silenceMs) session.inDoubt = true;
    }
    for (const owner of this.#owners)
      if (owner.session.inDoubt || owner.session.over) this.#mayBeLost(owner);
  }

  #member({ num }: SimNode): View['members'][number] | undefined {
    return this.#views.newest?.members.find((m) => m.num === num);
  }

  /** Nobody can tell when it is lost, or whether. */
  #mayBeLost(owner: Owner): void {
    if (!this.#owners.delete(owner)) return;
    const { name, resource } = owner;
    const client = `end of ${name}`;
    this.history.push({ type: 'invoke', client, input: { op: 'die', owner: name, resource } });
    this.history.push({ type: 'info', client });
  }

  /** Closing the session gives it up in good order, if that gets there. */
  #givesUp({ name, resource }: Owner): void {
    const client = `close of ${name}`;
    this.history.push({ type: 'invoke', client, input: { op: 'unlock', owner: name, resource } });
    this.history.push({ type: 'info', client });
  }

  async #client(ics: IcsEndpoint): Promise<void> {
    const { clock } = this.#cluster.world;
    let session: Session | undefined;
    while (this.#on) {
      await sleep(clock, this.#random.between(...pauseMs));
      if (!session || session.over) session = await this.#open(ics);
      else await this.#round(session);
    }
    if (session) await this.#close(session);
  }

  async #open(ics: IcsEndpoint): Promise<Session | undefined> {
    const { clock } = this.#cluster.world;
    const node = this.#random.pick(this.#cluster.nodes);
    const id = `${++this.#opened}`.padStart(16, '0');
    const heard: Heard = { ms: clock.nowMs(), replacedMs: Number.POSITIVE_INFINITY };
    const link = { ics: this.#heard(ics, heard), clock, seeds: [] };
    const views = {
      refresh: async () =>
        this.#views.newest ? ok(this.#views.newest) : fail('EAGAIN', 'there is no view'),
      watch: () => ({ stop: () => {} }),
    };
    const opened = await openLockspace(link, views, 'sim', { node: node.num }, id);
    this.#count('open', opened);
    if (!opened.ok) return undefined;
    const space = opened.value;
    const { boot } = node;
    const bootId = this.#member(node)?.incarnation.bootId;
    const session = { id, space, node, boot, bootId, heard, inDoubt: false, over: false, locks: 0 };
    this.#sessions.add(session);
    space.lost.addEventListener('abort', () => this.#lost(session));
    return session;
  }

  /** Notes when what keeps the session got there. */
  #heard(ics: IcsEndpoint, heard: Heard): Ics {
    const { clock } = this.#cluster.world;
    const call = (...args: Parameters<Ics['call']>): Promise<Reply<unknown>> => {
      const sentMs = clock.nowMs();
      const reply = ics.call(...args) as Promise<Reply<unknown>>;
      if (args[1] === 'asts' || args[1] === 'resume')
        void reply.then(({ ok }) => {
          if (ok) heard.ms = Math.max(heard.ms, sentMs);
          if (ok && sentMs - heard.replacedMs > newLifeMs)
            this.#cluster.world.violated('excluded', 'a session outlives the life of its node');
        });
      return reply;
    };
    return { ...ics, call: call as Ics['call'] };
  }

  /** A lock manager that is started again costs nobody his session. */
  #lost(session: Session): void {
    const { id, space } = session;
    const { world } = this.#cluster;
    session.over = true;
    world.journal.event(`session ${id}`, `is lost: ${space.lost.reason}`);
    this.look();
    this.#sessions.delete(session);
    if (!session.inDoubt) world.violated('sessions are kept', `${id}: ${space.lost.reason}`);
  }

  async #close(session: Session): Promise<void> {
    session.over = true;
    this.#sessions.delete(session);
    await session.space.close();
  }

  /** One lock, from its request to its end; what nobody knows the end of ends the session. */
  async #round(session: Session): Promise<void> {
    const { clock } = this.#cluster.world;
    const { space } = session;
    const r = this.#random;
    const resource = r.pick(resources);
    const name = `${session.id.slice(-3)}.${++session.locks}`;
    const more = this.#recorder(session);
    if (this.#more && r.chance(0.25))
      return this.#ended(session, await bytesRound({ ...more, space, resource, name }));
    const owner: Owner = { name, resource, session };
    this.#owners.add(owner);
    const about = { owner: name, resource };

    const mode = r.pick(modes);
    const got = await this.#record(owner, { op: 'lock', ...about, mode }, () =>
      space.lock(resource, mode, { flags, timeoutMs }),
    );
    let known = got.ok;
    if (got.ok) {
      await sleep(clock, r.between(...holdMs));
      if (r.chance(0.3)) {
        const other = r.pick(modes);
        const value = `v${++this.#values}`;
        const options = { flags, timeoutMs, value: bytes(value) };
        const done = await this.#record(
          owner,
          { op: 'convert', ...about, mode: other, value },
          () => space.convert(got.value, other, options),
        );
        known = done.ok;
        if (known) await sleep(clock, r.between(...holdMs));
      }
      if (known && this.#more && r.chance(0.4)) {
        const { left, unsure } = await under({ ...more, space, parent: got.value, name });
        // With its parent, which only force gives up then; its value block stays as it was.
        if (left) {
          const done = this.#unlock(owner, got.value, true);
          const gone = await more.release(left, async () => ((await done) ? ok({}) : notKnown));
          return this.#ended(session, gone ? {} : { unsure: [left, owner] });
        }
        if (unsure) return this.#ended(session, { unsure: [...unsure, owner] });
      }
      if (known) known = await this.#unlock(owner, got.value);
    }
    if (known || (!got.ok && !this.#owners.has(owner))) return;
    await this.#ended(session, { unsure: [owner] });
  }

  /** What nobody knows the end of ends with the session. */
  async #ended(session: Session, { unsure }: Ending): Promise<void> {
    if (!unsure) return;
    for (const { name, resource } of unsure) {
      const owner = [...this.#owners].find((o) => o.name === name) ?? { name, resource, session };
      this.#mayBeLost(owner);
      this.#givesUp(owner);
    }
    await this.#close(session);
  }

  #recorder(session: Session): Recorder {
    const find = (name: string): Owner | undefined =>
      [...this.#owners].find((owner) => owner.name === name);
    return {
      random: this.#random,
      hold: () => sleep(this.#cluster.world.clock, this.#random.between(...holdMs)),
      claim: (name, resource) => {
        const owner = { name, resource, session };
        this.#owners.add(owner);
        return owner;
      },
      isClaimed: ({ name }) => find(name) !== undefined,
      record: (claim, input, call) =>
        this.#record(find(claim.name) ?? { ...claim, session }, input, call),
      release: async ({ name, resource }, call) => {
        const owner = find(name) ?? { name, resource, session };
        const done = await this.#record(owner, { op: 'unlock', owner: name, resource }, call);
        if (done.ok) this.#owners.delete(owner);
        return done.ok;
      },
    };
  }

  async #unlock(owner: Owner, lock: Lock, force = false): Promise<boolean> {
    const value = `v${++this.#values}`;
    const input = { op: 'unlock', owner: owner.name, resource: owner.resource, value } as const;
    const done = await this.#record(owner, input, async () => {
      const value64 = bytes(value);
      const reply = await owner.session.space.unlock(lock, { flags, value: value64, force });
      return reply.ok ? ok({}) : reply;
    });
    if (done.ok) this.#owners.delete(owner);
    return done.ok;
  }

  async #record<T extends Partial<LockGrant>>(
    owner: Owner,
    input: LockInput,
    call: () => Promise<Reply<T>>,
  ): Promise<Reply<T>> {
    const client = owner.name;
    this.history.push({ type: 'invoke', client, input });
    const reply = await call();
    this.#count(input.op, reply);
    const { world } = this.#cluster;
    const what = `${input.op} ${client} ${'mode' in input ? input.mode : ''} on ${input.resource}`;
    world.journal.event(client, `${what}: ${reply.ok ? (reply.value.token ?? 'ok') : reply.errno}`);
    // These say that nothing was granted, whoever says it. A conversion down may have been made before.
    const refused = !reply.ok && (reply.errno === 'EDEADLK' || reply.errno === 'EAGAIN');
    if (reply.ok) this.history.push({ type: 'ok', client, output: told(reply.value) });
    else if (refused && (input.op === 'lock' || reply.errno === 'EDEADLK')) {
      this.history.push({ type: 'fail', client });
      if (input.op === 'lock') this.#owners.delete(owner);
    } else this.history.push({ type: 'info', client });
    return reply;
  }

  #count(what: string, reply: Reply<unknown>): void {
    const key = `${what} ${reply.ok ? 'ok' : reply.errno}`;
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
  }
}

const notKnown = fail('ESRCH', 'nobody knows whether it was given up');

/** A value block of zeros may be of a resource that was forgotten meanwhile: it says nothing. */
function told({ token, value, valueInvalid }: Partial<LockGrant>): LockOutput {
  const text = value && !valueInvalid ? words(value) : '';
  return {
    ...(token !== undefined && { token: BigInt(token) }),
    ...(text && { value: text, valid: true }),
  };
}
