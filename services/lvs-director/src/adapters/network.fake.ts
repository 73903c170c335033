// A network that all instances of a test or a simulation share: who answers for which address, who listens where,
// where packets go. The twin of addresses.linux.ts, sockets.linux.ts and the nft data planes.
import { type ClientFlow, fail, type Listener, ok } from '@ssi/contracts';
import { linkKey } from '../link-key.ts';
import type { Addresses, DataPlane, Planned, ServedFlow, Sockets } from '../ports.ts';

export class FakeNetwork {
  /** By node: what it answers for. */
  readonly held = new Map<number, ReadonlySet<string>>();
  readonly shared = new Map<number, readonly string[]>();
  readonly listeners = new Map<number, Listener[]>();
  readonly flows = new Map<number, ClientFlow[]>();
  readonly planned = new Map<number, readonly Planned[]>();
  readonly followed = new Map<number, Map<string, string>>();
  /** Addresses of others on the network. */
  readonly others = new Set<string>();
  /** What the data plane of a node refuses with; absent: nothing. */
  readonly refusals = new Map<number, string>();
  /** First three octets of the network. */
  readonly prefix = '10.0.0';

  /** Nodes that answer for it now: more than one must never be. */
  holders(address: string): number[] {
    return [...this.held].flatMap(([num, all]) => (all.has(address) ? [num] : []));
  }

  addresses(num: number): Addresses {
    const isHere = (address: string): boolean => address.startsWith(`${this.prefix}.`);
    return {
      share: async (addresses) => {
        this.shared.set(num, addresses);
        return ok();
      },
      hold: async (addresses) => {
        this.held.set(num, new Set(addresses));
        return ok();
      },
      release: async () => {
        this.held.delete(num);
        return ok();
      },
      held: () => [...(this.held.get(num) ?? [])],
      isFree: async (address) => {
        if (!isHere(address))
          return fail('EADDRNOTAVAIL', `${address} is in no network of the nodes`);
        return this.others.has(address) ? fail('EADDRINUSE', `${address} is in use`) : ok();
      },
    };
  }

  sockets(num: number): Sockets {
    return {
      listeners: () => this.listeners.get(num) ?? [],
      flows: (addresses) =>
        (this.flows.get(num) ?? []).filter((f) => addresses.includes(f.address)),
    };
  }

  plane(num: number): DataPlane {
    const follow = (flows: readonly ServedFlow[]): void => {
      const all = this.followed.get(num) ?? new Map<string, string>();
      for (const f of flows) all.set(`${f.client}:${f.clientPort}`, f.server);
      this.followed.set(num, all);
    };
    const zero = { connections: 0, inPackets: 0, inBytes: 0, outPackets: 0, outBytes: 0 };
    const byLink = <T>(value: T): Map<string, T> =>
      new Map(
        (this.planned.get(num) ?? []).flatMap((p) =>
          p.service.servers.map((_, at): [string, T] => [linkKey(p, at), value]),
        ),
      );
    return {
      apply: async (planned, { flows = [] } = {}) => {
        const refused = this.refusals.get(num);
        if (refused !== undefined) return fail('EIO', refused);
        this.planned.set(num, planned);
        follow(flows);
        return ok();
      },
      connections: async () => ok(byLink({ active: 0, inactive: 0 })),
      traffic: async () => ok(byLink(zero)),
      clear: async () => {
        this.planned.delete(num);
        this.followed.delete(num);
        return ok();
      },
    };
  }
}
