// Bugs that are planted to see whether the checkers find them: each bends what a service is given, or
// what it is told, the way that bug in its code would. Nothing in the services knows of it.
import { ok } from '@ssi/contracts';
import type { IcsEndpoint } from '@ssi/ics';
import type { NodeGuard } from '@ssi/membership';
import type { Ics, Kv } from '@ssi/ports';
import type { VprocPorts } from '@ssi/vproc';
import type { SimNode } from './node.ts';
import type { World } from './world.ts';

export interface Plant {
  readonly name: string;
  readonly guard?: (guard: NodeGuard, node: SimNode) => NodeGuard;
  readonly ics?: (ics: IcsEndpoint, service: string, node: SimNode) => IcsEndpoint;
  readonly ports?: (ports: VprocPorts, node: SimNode) => VprocPorts;
  readonly client?: (ics: IcsEndpoint, world: World) => IcsEndpoint;
  readonly kv?: (kv: Kv) => Kv;
}

type CallArgs = Parameters<Ics['call']>;

/** An endpoint whose calls of one operation go another way. */
export function bend(
  ics: IcsEndpoint,
  op: string,
  way: (plain: () => Promise<unknown>, args: CallArgs) => Promise<unknown>,
): IcsEndpoint {
  const call = (...args: CallArgs): Promise<unknown> => {
    const plain = (): Promise<unknown> => ics.call(...args);
    return `${args[0].name}.${args[1]}` === op ? way(plain, args) : plain();
  };
  return { ...ics, call: call as Ics['call'] };
}

/** One method of one port another way. */
function bendPort(
  ports: VprocPorts,
  port: keyof VprocPorts,
  method: string,
  way: (...args: unknown[]) => unknown,
): VprocPorts {
  const plain = ports[port] as object;
  const bent = new Proxy(plain, {
    get: (target, key) => (key === method ? way : Reflect.get(target, key)),
  });
  return { ...ports, [port]: bent };
}

/** An endpoint that serves one operation another way. */
export function bendServed(
  ics: IcsEndpoint,
  op: string,
  way: (plain: (q: object) => unknown, q: object) => unknown,
): IcsEndpoint {
  const serve = (contract: { name: string }, handlers: object, options?: unknown): void => {
    const [service, name = ''] = op.split('.');
    type Handler = (q: object, call: unknown) => unknown;
    const plain = (handlers as Record<string, Handler>)[name];
    const bent = (q: object, call: unknown): unknown => way((asked) => plain?.(asked, call), q);
    const all = contract.name === service ? { ...handlers, [name]: bent } : handlers;
    (ics.serve as (...args: unknown[]) => void)(contract, all, options);
  };
  return { ...ics, serve: serve as IcsEndpoint['serve'] };
}

export const plants = {
  commitBeforeKill: {
    name: 'the copy is killed only some time after the commit',
    ports: (ports, node) => ({
      ...ports,
      criu: {
        ...ports.criu,
        destroy: async (tasks) => {
          node.world.clock.after(300, () => void ports.criu.destroy(tasks));
          return ok();
        },
      },
    }),
  },
  resumeWithoutAbort: {
    name: 'the source goes on without waiting for the acknowledgement of its abort',
    ics: (ics, service) =>
      service === 'vproc' ? bend(ics, 'vproc.moveAbort', async () => ok({})) : ics,
  },
  leaseOutlivesVerdict: {
    name: 'the lease lasts longer than the verdict',
    guard: (guard) => ({
      lease: (ms) => guard.lease(ms > 0 ? ms + 1_000 : 0),
      kill: () => guard.kill(),
      close: () => guard.close(),
    }),
  },
  thawWithoutAsking: {
    name: 'a lapsed lease is renewed without the word of a master',
    guard: (guard, node) => {
      const boot = node.boot;
      let leased = false;
      const renew = (): void => {
        if (!node.up || node.boot !== boot) return;
        if (leased && !node.halted) guard.lease(540);
        node.world.clock.after(400, renew);
      };
      renew();
      return {
        lease: (ms) => {
          leased ||= ms > 0;
          guard.lease(ms);
        },
        kill: () => guard.kill(),
        close: () => guard.close(),
      };
    },
  },
  stepsOutOfOrder: {
    name: 'the flush is acknowledged before it was made',
    ics: (ics, service, node) =>
      service === 'clms'
        ? bend(ics, 'ics.nodedown', async (plain) => {
            node.world.clock.after(300, () => void plain());
            return ok({});
          })
        : ics,
  },
  guessingSurrogate: {
    name: 'a surrogate origin asks nobody what lives',
    ics: (ics, service) =>
      service === 'vproc'
        ? bend(ics, 'vproc.census', async () => ok({ entries: [], numbers: [] }))
        : ics,
  },
  keyServiceWithoutLease: {
    name: 'the active instance of a key service does not ask for its lease',
    ics: (ics, service) =>
      service === 'dlm'
        ? bend(ics, 'clms.confirm', async () => ok({ transid: 0, leaseMs: 60_000 }))
        : ics,
  },
  newRequestId: {
    name: 'a call without an answer is repeated under a new request id',
    client: (ics) =>
      bend(ics, 'dlm.run', async (plain) => {
        const first = (await plain()) as { ok: boolean; errno?: string };
        return first.ok || first.errno !== 'ETIMEDOUT' ? first : plain();
      }),
  },
  lostMailbox: {
    name: 'what is sent to an actor while it is frozen for a move is acknowledged and lost',
    ics: (ics, service) => {
      if (service !== 'actor') return ics;
      const frozen = new Set<number>();
      const pidOf = (q: object): number => (q as { pid: number }).pid;
      const freezes = bendServed(ics, 'actor.freeze', (plain, q) => {
        frozen.add(pidOf(q));
        return plain(q);
      });
      const ends = bendServed(freezes, 'actor.destroy', (plain, q) => {
        frozen.delete(pidOf(q));
        return plain(q);
      });
      return bendServed(ends, 'actor.deliver', (plain, q) =>
        frozen.has(pidOf(q)) && (q as { kind: string }).kind === 'send'
          ? ok({ value: null })
          : plain(q),
      );
    },
  },
  eventTwice: {
    name: 'an actor takes an event as often as it comes: no number, no kept answer',
    ics: (ics, service) => {
      if (service !== 'actor') return ics;
      let times = 0;
      return bendServed(ics, 'actor.deliver', async (plain, q) => {
        const first = (await plain(q)) as { ok: boolean };
        const again = { ...q, sender: `again${++times}`, seq: 1, lowWater: 1 };
        if (first.ok && times % 40 === 0) await plain(again);
        return first;
      });
    },
  },
  blindWrite: {
    name: 'a view is written without a look at the one it replaces',
    kv: (kv) => ({
      ...kv,
      async compareAndSet(key, value, expected) {
        const written = await kv.compareAndSet(key, value, expected);
        if (written.ok || written.errno !== 'EAGAIN') return written;
        const now = await kv.get(key);
        return now.ok ? kv.compareAndSet(key, value, now.value?.revision ?? 0) : now;
      },
    }),
  },
  recordsLost: {
    name: 'records of a move are acknowledged before they are on disk, and never get there',
    ports: (ports) => bendPort(ports, 'records', 'write', async () => ok()),
  },
  sourceRunsOn: {
    name: 'the source runs on after its dump',
    ports: (ports) => {
      const { criu } = ports;
      return bendPort(ports, 'criu', 'dump', (q) => {
        const dump = criu.dump(q as Parameters<typeof criu.dump>[0]);
        void dump.done.then((done) => {
          if (done.ok) void criu.resume(done.value.tasks, []);
        });
        return dump;
      });
    },
  },
  staleView: {
    name: 'the target of a move goes by the first view it saw: it takes calls of lives that are dead',
    ics: (ics, service) => {
      if (service !== 'vproc') return ics;
      type Args = Parameters<IcsEndpoint['setView']>;
      let first: Args[0] | undefined;
      return {
        ...ics,
        setView: (...[view, self]: Args) => {
          first ??= view;
          ics.setView(first, self);
        },
      };
    },
  },
} as const satisfies Record<string, Plant>;

export type PlantName = keyof typeof plants;
