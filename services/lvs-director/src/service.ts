// Wires the director together: which part serves which operation. The same code runs in a process of its own and in
// the simulator. Every node has an instance; the view says which one directs.
import {
  directorKey,
  type Failure,
  fail,
  findMember,
  lvs,
  type MemberId,
  ok,
  type ServiceEndpoint,
  type View,
} from '@ssi/contracts';
import { createKeyRole, linkMembership, linkRouter, type RouterLink } from '@ssi/ics';
import { findService, serviceText } from '@ssi/lvs';
import {
  type Clock,
  type Handlers,
  type Ics,
  type Log,
  type Random,
  refusals,
  repeat,
} from '@ssi/ports';
import { Counted } from './counted.ts';
import { Director } from './director.ts';
import { Instance } from './instance.ts';
import type { Addresses, DataPlane, Prober, Sockets, TableStore } from './ports.ts';

/** A socket that listens is in its pool within about this time. */
const socketsMs = 100;
/** The director is told again, were something lost; what goes by counts is counted again. */
const repeatMs = 1_000;

export interface LvsDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly plane: DataPlane;
  readonly addresses: Addresses;
  readonly sockets: Sockets;
  readonly store: TableStore;
  readonly prober: Prober;
  /** This service's own process id, for membership's list; 0 in a simulation. */
  readonly servicePid: number;
  /** Where this service is reached directly, for the node map; empty: by the bus only. */
  readonly tcp: readonly { readonly host: string; readonly port: number }[];
  /** Hands the node map over to ICS. Absent: the transport needs none. */
  readonly setMap?: (map: readonly ServiceEndpoint[], revoked?: readonly string[]) => void;
}

export interface LvsService {
  /** Resolves when it is attached to its membership; it goes on trying as long as that does not answer. */
  start(): Promise<void>;
  /** Answers for no address any more, and leaves nothing in the kernel but the addresses that programs use. */
  stop(): Promise<void>;
}

export function createLvs(deps: LvsDeps): LvsService {
  const { ics, clock, log } = deps;
  const own = ics.self.node;
  const startedMs = clock.nowMs();
  const instance = new Instance(deps);
  let view: View | undefined;
  let self: MemberId | undefined;
  let stopped = false;
  let router: RouterLink | undefined;
  let ended: Promise<boolean> = Promise.resolve(true);

  const role = createKeyRole({
    ...{ name: directorKey, ics, clock },
    onEpoch: (epoch) => {
      if (epoch !== undefined) void director.begin(epoch);
      // The lease may come back: then the packets still go where they went.
      else ended = director.end(!isNamed());
    },
    idle: () => ended,
  });
  const director = new Director({
    ...{ ...deps, instance },
    view: () => view,
    epoch: () => role.epoch(),
  });
  const counted = new Counted(deps.plane);

  const isNamed = (): boolean => {
    const key = view?.keyServices[directorKey];
    return key?.num === own && key.to === undefined;
  };

  function notHere(): Failure<'EREMCHG' | 'EAGAIN'> {
    const node = role.elsewhere();
    return node === undefined || node === own
      ? fail('EAGAIN', 'nobody directs at the moment; ask again')
      : { ...fail('EREMCHG', `node ${node} directs`), node };
  }

  const handlers: Handlers<typeof lvs> = {
    view: (q) => {
      membership.told(q.view, q.self);
      return ok();
    },
    standDown: (q) => role.standDown(q),
    status: () =>
      ok({
        service: lvs.name,
        state: !view ? 'starting' : director.serves ? 'directing' : 'standby',
        uptimeMs: clock.nowMs() - startedMs,
        counters: {
          services: director.pools.services.length,
          addresses: deps.addresses.held().length,
          listeners: instance.listeners().length,
          ...refusals(ics),
        },
      }),
    change: ({ changes }) => (director.serves ? director.change(changes) : notHere()),
    table: () => {
      if (!director.serves) return notHere();
      const { pools, fault } = director;
      const { version, table } = instance.kept;
      return ok({
        ...{ node: own, version, table, pools: [...pools.services], out: { ...pools.out } },
        ...(fault !== undefined && { fault }),
      });
    },
    stats: async () => {
      if (!director.serves) return notHere();
      const servers = await counted.read(director.pools.services);
      return servers.ok ? ok({ atMs: clock.nowMs(), servers: servers.value }) : servers;
    },
    zero: ({ id }) => {
      if (!director.serves) return notHere();
      if (id && !findService(director.pools.services, id))
        return fail('ENOENT', `${serviceText(id)}: no such service`);
      return counted.zero(id && serviceText(id));
    },
    keep: (q) => instance.keep(q),
    kept: async ({ epoch }) => {
      instance.promise(epoch);
      const { version, table } = instance.kept;
      return ok({ version, table, listeners: instance.listeners(), flows: instance.flows() });
    },
    report: (q, call) => {
      director.report(call.from.node, q);
      return ok();
    },
  };

  let toldText = '';
  let toldMs = Number.NEGATIVE_INFINITY;
  /** Who listens here, when it changed and now and then. */
  function tell(): void {
    const to = role.elsewhere();
    const me = view && findMember(view, own);
    if (to === undefined || me?.state !== 'UP') return;
    const q = { version: instance.kept.version, listeners: instance.listeners() };
    const text = `${to} ${view?.keyServices[directorKey]?.since} ${JSON.stringify(q.listeners)}`;
    if (text === toldText && clock.nowMs() - toldMs < repeatMs) return;
    toldText = text;
    toldMs = clock.nowMs();
    if (to === own) director.report(own, q);
    else ics.send(lvs, 'report', to, q, { timeoutMs: 2 * repeatMs });
  }

  function apply(next: View, me: MemberId): void {
    self = me;
    ics.setView(next, me);
    router?.self(me);
    const isNew = !view || next.transid > view.transid;
    if (isNew) view = next;
    role.told({ view: next, self: me });
    if (isNew && director.serves) director.plan();
  }

  const membership = linkMembership({ ics, clock, servicePid: deps.servicePid, apply });

  const every = (ms: number, work: () => Promise<void> | void): void =>
    void repeat({ clock, ms, until: () => stopped }, work);

  return {
    async start() {
      await instance.load();
      ics.serve(lvs, handlers);
      if (deps.setMap) router = linkRouter({ ...deps, setMap: deps.setMap });
      await membership.start();
      log.info('attached', { self });
      every(socketsMs, tell);
      every(repeatMs, async () => {
        await instance.share();
        director.look();
      });
    },
    async stop() {
      stopped = true;
      membership.stop();
      router?.stop();
      role.close();
      await director.end(true);
    },
  };
}
