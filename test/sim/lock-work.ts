// Users of the lock manager: clients that take, convert and give up locks on few resources while the
// cluster is hurt. All that they see goes into one history, for the linearizability checker.
import { dlm, type LockGrant, type LockMode, type Reply } from '@ssi/contracts';
import { createIcs, type IcsEndpoint } from '@ssi/ics';
import type { HistoryEvent, LockInput, LockOutput } from '@ssi/linearizability';
import { sleep } from '@ssi/ports';
import type { Life, SimRandom } from '@ssi/sim';
import type { ViewsChecker } from './checkers/views.ts';
import type { SimCluster } from './cluster.ts';

export type LockEvent = HistoryEvent<LockInput, LockOutput>;

const resources = ['r1', 'r2'];
const modes: readonly LockMode[] = ['EX', 'EX', 'EX', 'EX', 'PW', 'PW', 'PR', 'PR', 'PR', 'CR'];
const pauseMs = [5, 300] as const;
const holdMs = [5, 600] as const;
/** Longest wait for a lock. */
const waitMs = 2_000;
/** A session that was not heard for this long may be over: it is, after 10 s. */
const silenceMs = 7_000;
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
  readonly node: number;
  /** The life of the lock manager that keeps it. */
  readonly life: Life | undefined;
  heardMs: number;
  /** It is over, or given up by its client. */
  over: boolean;
  refs: number;
}

export class LockWork {
  readonly history: LockEvent[] = [];
  readonly counts = new Map<string, number>();
  readonly #cluster: SimCluster;
  readonly #views: ViewsChecker;
  readonly #random: SimRandom;
  readonly #clients: IcsEndpoint[] = [];
  readonly #owners = new Set<Owner>();
  #on = true;
  #sessions = 0;
  #values = 0;
  /** Clients whose last round has not ended. */
  busy = 0;

  constructor(cluster: SimCluster, views: ViewsChecker, clients: number) {
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
    views.onView((view) => {
      for (const ics of this.#clients) ics.setView(view);
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
    const members = this.#views.newest?.members ?? [];
    for (const owner of this.#owners) {
      const { node, life, heardMs, over } = owner.session;
      const ends = !life?.alive || nowMs - heardMs > silenceMs || over;
      const up = members.find((m) => m.num === node)?.state === 'UP';
      if (ends || !up) this.#mayBeLost(owner);
    }
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
      else await this.#round(ics, session);
    }
    if (session) await this.#close(ics, session);
  }

  async #open(ics: IcsEndpoint): Promise<Session | undefined> {
    const { clock } = this.#cluster.world;
    const node = this.#random.pick(this.#cluster.nodes);
    const id = `${++this.#sessions}`.padStart(16, '0');
    const life = node.lives.get('dlm');
    const q = { session: id, open: true, after: 0 };
    const reply = await ics.call(dlm, 'asts', node.num, q, { timeoutMs: 3_000 });
    this.#count('open', reply);
    if (!reply.ok || !life?.alive) return undefined;
    const heardMs = clock.nowMs();
    const session: Session = { id, node: node.num, life, heardMs, over: false, refs: 0 };
    void this.#follow(ics, session);
    return session;
  }

  /** Keeps it. */
  async #follow(ics: IcsEndpoint, session: Session): Promise<void> {
    const { clock } = this.#cluster.world;
    while (!session.over) {
      const q = { session: session.id, after: Number.MAX_SAFE_INTEGER };
      const sentMs = clock.nowMs();
      const reply = await ics.call(dlm, 'asts', session.node, q, { timeoutMs: 4_000 });
      if (reply.ok) session.heardMs = Math.max(session.heardMs, sentMs);
      else if (reply.errno === 'ESRCH') session.over = true;
      else await sleep(clock, 100);
      if (clock.nowMs() - session.heardMs > 12_000) session.over = true;
    }
  }

  async #close(ics: IcsEndpoint, session: Session): Promise<void> {
    session.over = true;
    const reply = await ics.call(dlm, 'close', session.node, { session: session.id });
    this.#count('close', reply);
  }

  /** One lock, from its request to its end; what nobody knows the end of ends the session. */
  async #round(ics: IcsEndpoint, session: Session): Promise<void> {
    const { clock } = this.#cluster.world;
    const r = this.#random;
    const resource = r.pick(resources);
    const ref = ++session.refs;
    const owner: Owner = { name: `${session.id.slice(-3)}.${ref}`, resource, session };
    this.#owners.add(owner);
    const where = { session: session.id, ref, lockspace: 'sim', resource };
    const flags = ['VALBLK' as const];
    let op = 0;

    const ask = async (mode: LockMode): Promise<boolean> => {
      const value = op > 0 ? `v${++this.#values}` : undefined;
      const input: LockInput =
        op > 0
          ? { op: 'convert', owner: owner.name, resource, mode, ...(value && { value }) }
          : { op: 'lock', owner: owner.name, resource, mode };
      const q = { ...where, op: ++op, mode, flags, waitMs, ...(value && { value: bytes(value) }) };
      const reply = await this.#record(owner, input, () =>
        ics.call(dlm, 'lock', session.node, q, { timeoutMs: 20_000 }),
      );
      return reply.ok;
    };

    let known = await ask(r.pick(modes));
    const granted = known;
    if (known) await sleep(clock, r.between(...holdMs));
    if (known && r.chance(0.3)) {
      known = await ask(r.pick(modes));
      if (known) await sleep(clock, r.between(...holdMs));
    }
    if (known && !session.over) {
      const value = `v${++this.#values}`;
      const input = { op: 'unlock' as const, owner: owner.name, resource, value };
      const q = { session: session.id, ref, flags, value: bytes(value) };
      const done = await this.#record(owner, input, () =>
        ics.call(dlm, 'unlock', session.node, q, { timeoutMs: 10_000 }),
      );
      known = done.ok;
      if (done.ok) this.#owners.delete(owner);
    }
    if (known || (!granted && !this.#owners.has(owner))) return;
    this.#mayBeLost(owner);
    this.#givesUp(owner);
    await this.#close(ics, session);
  }

  async #record(
    owner: Owner,
    input: LockInput,
    call: () => Promise<Reply<Partial<LockGrant>>>,
  ): Promise<Reply<Partial<LockGrant>>> {
    const client = owner.name;
    this.history.push({ type: 'invoke', client, input });
    const reply = await call();
    this.#count(input.op, reply);
    const { world } = this.#cluster;
    const what = `${input.op} ${client} ${'mode' in input ? input.mode : ''} on ${input.resource}`;
    world.journal.event(client, `${what}: ${reply.ok ? (reply.value.token ?? 'ok') : reply.errno}`);
    if (reply.ok) this.history.push({ type: 'ok', client, output: told(reply.value) });
    // These say that nothing was granted, whoever says it.
    else if (reply.errno === 'EAGAIN' || reply.errno === 'EDEADLK') {
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

/** A value block of zeros may be of a resource that was forgotten meanwhile: it says nothing. */
function told({ token, value, valueInvalid }: Partial<LockGrant>): LockOutput {
  const text = value && !valueInvalid ? words(value) : '';
  return {
    ...(token !== undefined && { token: BigInt(token) }),
    ...(text && { value: text, valid: true }),
  };
}
