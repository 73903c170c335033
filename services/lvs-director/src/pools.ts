// Who is in the pools at the moment: of the table those whose node CLMS says is UP and whose checks succeed, and by
// themselves the nodes where a program listens on a port of a range. [OpenSSI: CI-LINUX checker, setport_weight]
import {
  type DirectorTable,
  findMember,
  joinedService,
  type Listener,
  type RealServer,
  upMembers,
  type View,
  type ViewMember,
  type VirtualService,
} from '@ssi/contracts';
import { findService, serverText, serviceText } from '@ssi/lvs';

export interface Pools {
  readonly services: readonly VirtualService[];
  /** Servers of the table that are not in their pool, by `serviceText serverText`. */
  readonly out: Readonly<Record<string, 'node' | 'check'>>;
}

/** The node a server is on: as it was said, or whose address it is. undefined: none of the cluster's. */
export const nodeOf = (view: View, server: RealServer): number | undefined =>
  server.node ?? view.members.find((m) => m.facts.addresses.includes(server.address))?.num;

/** The table without servers whose node is not UP: what is to be checked. */
export const thereOf = (table: DirectorTable, view: View): VirtualService[] =>
  table.services.map((service) => ({
    ...service,
    servers: service.servers.filter((server) => {
      const node = nodeOf(view, server);
      return node === undefined || findMember(view, node)?.state === 'UP';
    }),
  }));

export function poolsOf(q: {
  readonly table: DirectorTable;
  readonly view: View;
  readonly listeners: ReadonlyMap<number, readonly Listener[]>;
  /** What the checks leave of `thereOf`. */
  readonly carried: readonly VirtualService[];
}): Pools {
  const { table, view, carried } = q;
  const there = thereOf(table, view);
  const has = (all: readonly VirtualService[], service: VirtualService, s: RealServer): boolean =>
    findService(all, service.id)?.servers.some((o) => serverText(o) === serverText(s)) ?? false;
  const out: Record<string, 'node' | 'check'> = {};
  for (const service of table.services)
    for (const server of service.servers)
      if (!has(carried, service, server))
        out[`${serviceText(service.id)} ${serverText(server)}`] = has(there, service, server)
          ? 'check'
          : 'node';
  const up = new Map(upMembers(view).map((m) => [m.num, m]));
  return { services: withJoined(carried, q, up), out };
}

/** With those that joined by listening. */
function withJoined(
  services: readonly VirtualService[],
  q: {
    readonly table: DirectorTable;
    readonly listeners: ReadonlyMap<number, readonly Listener[]>;
  },
  up: ReadonlyMap<number, ViewMember>,
): VirtualService[] {
  const all = [...services];
  for (const address of q.table.addresses)
    for (const range of q.table.ports)
      for (const port of portsHeard(range, q.listeners, up)) {
        const own = joinedService(address, port, range);
        const found = findService(all, own.id);
        // Of a service that goes by NAT the servers are as they were written down.
        if (found?.servers.some((s) => s.forward !== 'route')) continue;
        const servers = [...up.values()]
          .filter(({ num }) => listens(q.listeners.get(num), range.protocol, port))
          .flatMap((m): RealServer[] => {
            const [host] = m.facts.addresses;
            const isThere = found?.servers.some((s) => s.address === host);
            return host && !isThere ? [joined(host, port, range.weight, m.num)] : [];
          });
        if (found) all[all.indexOf(found)] = { ...found, servers: [...found.servers, ...servers] };
        else all.push({ ...own, servers });
      }
  return all;
}

const joined = (address: string, port: number, weight: number, node: number): RealServer => ({
  ...{ address, port, forward: 'route', weight, upper: 0, lower: 0, node },
});

const listens = (heard: readonly Listener[] | undefined, protocol: string, port: number): boolean =>
  heard?.some((l) => l.protocol === protocol && l.port === port) ?? false;

const portsHeard = (
  range: DirectorTable['ports'][number],
  listeners: ReadonlyMap<number, readonly Listener[]>,
  up: ReadonlyMap<number, ViewMember>,
): number[] =>
  [
    ...new Set(
      [...listeners].flatMap(([num, all]) =>
        up.has(num)
          ? all.flatMap(({ protocol, port }) =>
              protocol === range.protocol && port >= range.start && port <= range.end ? [port] : [],
            )
          : [],
      ),
    ),
  ].sort((a, b) => a - b);
