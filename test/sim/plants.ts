// Bugs that are planted to see whether the checkers find them: each bends what a service is given, or
// what it is told, the way that bug in its code would. Nothing in the services knows of it.
import { ok } from '@ssi/contracts';
import type { IcsEndpoint } from '@ssi/ics';
import type { NodeGuard } from '@ssi/membership';
import type { Ics } from '@ssi/ports';
import type { VprocPorts } from '@ssi/vproc';
import type { SimNode } from './node.ts';
import type { World } from './world.ts';

export interface Plant {
  readonly name: string;
  readonly guard?: (guard: NodeGuard, node: SimNode) => NodeGuard;
  readonly ics?: (ics: IcsEndpoint, service: string, node: SimNode) => IcsEndpoint;
  readonly ports?: (ports: VprocPorts, node: SimNode) => VprocPorts;
  readonly client?: (ics: IcsEndpoint, world: World) => IcsEndpoint;
}

type CallArgs = Parameters<Ics['call']>;

/** An endpoint whose calls of one operation go another way. */
function bend(
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
} as const satisfies Record<string, Plant>;
