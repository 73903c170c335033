// The virtual server table: what is in it, and what may be done to it. Every change gives a new table or
// says why not; the old one is left as it was. [ipvsadm(8); net/netfilter/ipvs/ip_vs_ctl.c]
import {
  fail,
  ok,
  type RealServer,
  type Reply,
  type ServiceId,
  type VirtualService,
} from '@ssi/contracts';

/** In the order they were added. */
export type Table = readonly VirtualService[];

/** EINVAL: does not fit together. EEXIST, ENOENT: there is one, there is none. EBUSY: in another's way. */
export type TableErrno = 'EINVAL' | 'EEXIST' | 'ENOENT' | 'EBUSY' | 'ENOSPC';
export type TableReply = Reply<Table, TableErrno>;

/** What of a virtual service is its own, without its servers. */
export type ServiceOptions = Omit<VirtualService, 'servers'>;
/** Of a server: which one it is. */
export type ServerId = Pick<RealServer, 'address' | 'port'>;

export const servicesMax = 1_024;
export const serversMax = 4_096;

/** As ipvsadm's -S writes it: `-t 10.0.0.1:80`. */
export const serviceText = (id: ServiceId): string =>
  id.protocol === 'fwmark'
    ? `-f ${id.mark}`
    : `${id.protocol === 'tcp' ? '-t' : '-u'} ${id.address}:${id.port}`;

export const serverText = (id: ServerId): string => `${id.address}:${id.port}`;

const same = (a: ServiceId, b: ServiceId): boolean => serviceText(a) === serviceText(b);

export const findService = (table: Table, id: ServiceId): VirtualService | undefined =>
  table.find((service) => same(service.id, id));

const nowhere = (address: string): boolean => address === '0.0.0.0' || address.startsWith('127.');

/** Reads from the left ones only. */
function isNetmask(text: string): boolean {
  const bits = text.split('.').reduce((n, byte) => n * 256 + Number(byte), 0);
  return bits > 0 && ((~bits >>> 0) & ((~bits >>> 0) + 1)) === 0;
}

/** What is wrong with a service by itself; undefined: nothing. */
export function faultOfService(service: ServiceOptions): string | undefined {
  const { id, scheduler, flags, persistence } = service;
  const text = serviceText(id);
  if (id.protocol !== 'fwmark') {
    if (nowhere(id.address)) return `${text}: not an address that clients could ask for`;
    if (id.port === 0 && !persistence) return `${text}: port 0 (all ports) goes with -p only`;
  }
  for (const flag of flags)
    if (!flag.startsWith(`${scheduler}-`))
      return `${text}: flag ${flag} is not one of scheduler ${scheduler}`;
  if (persistence && !isNetmask(persistence.netmask))
    return `${text}: ${persistence.netmask} is not a netmask`;
  return undefined;
}

export function faultOfServer(id: ServiceId, server: RealServer): string | undefined {
  const text = `${serviceText(id)} -r ${serverText(server)}`;
  if (server.address === '0.0.0.0') return `${text}: not an address of a server`;
  const asked = id.protocol === 'fwmark' ? 0 : id.port;
  if (server.port === 0 && asked !== 0) return `${text}: without a port`;
  if ((server.forward === 'route' || server.forward === 'tunnel') && server.port !== asked)
    return `${text}: with ${server.forward} the port stays ${asked}`;
  if (id.protocol !== 'fwmark' && server.address === id.address && server.port === id.port)
    return `${text}: a service cannot be its own server`;
  if (server.lower > server.upper)
    return `${text}: lower threshold ${server.lower} is above upper ${server.upper}`;
  return undefined;
}

/** The service that already answers for a part of what `id` asks for. */
function inTheWay(table: Table, id: ServiceId): VirtualService | undefined {
  if (id.protocol === 'fwmark') return undefined;
  return table.find(
    (other) =>
      other.id.protocol === id.protocol &&
      other.id.address === id.address &&
      (other.id.port === 0) !== (id.port === 0),
  );
}

export function addService(table: Table, service: ServiceOptions): TableReply {
  const fault = faultOfService(service);
  if (fault) return fail('EINVAL', fault);
  const text = serviceText(service.id);
  if (findService(table, service.id)) return fail('EEXIST', `${text}: there is this service`);
  const other = inTheWay(table, service.id);
  if (other) return fail('EBUSY', `${text}: overlaps ${serviceText(other.id)}`);
  if (table.length >= servicesMax)
    return fail('ENOSPC', `${text}: there are ${servicesMax} services`);
  return ok([...table, { ...service, servers: [] }]);
}

const noSuch = (id: ServiceId) => fail('ENOENT', `${serviceText(id)}: no such service`);

/** In the place of the service of that id; its servers stay. */
export function editService(table: Table, service: ServiceOptions): TableReply {
  const fault = faultOfService(service);
  if (fault) return fail('EINVAL', fault);
  return change(table, service.id, ({ servers }) => ok({ ...service, servers }));
}

export function deleteService(table: Table, id: ServiceId): TableReply {
  return findService(table, id) ? ok(table.filter((s) => !same(s.id, id))) : noSuch(id);
}

export function addServer(table: Table, id: ServiceId, server: RealServer): TableReply {
  const text = `${serviceText(id)} -r ${serverText(server)}`;
  return change(table, id, (service) => {
    const fault = faultOfServer(id, server);
    if (fault) return fail('EINVAL', fault);
    if (service.servers.some(isServer(server))) return fail('EEXIST', `${text}: it is there`);
    if (service.servers.length >= serversMax)
      return fail('ENOSPC', `${text}: the service has ${serversMax} servers`);
    return ok({ ...service, servers: [...service.servers, server] });
  });
}

export function editServer(table: Table, id: ServiceId, server: RealServer): TableReply {
  return change(table, id, (service) => {
    const fault = faultOfServer(id, server);
    if (fault) return fail('EINVAL', fault);
    if (!service.servers.some(isServer(server))) return noServer(id, server);
    const servers = service.servers.map((old) => (isServer(server)(old) ? server : old));
    return ok({ ...service, servers });
  });
}

export function deleteServer(table: Table, id: ServiceId, server: ServerId): TableReply {
  return change(table, id, (service) => {
    if (!service.servers.some(isServer(server))) return noServer(id, server);
    return ok({ ...service, servers: service.servers.filter((s) => !isServer(server)(s)) });
  });
}

const noServer = (id: ServiceId, server: ServerId) =>
  fail('ENOENT', `${serviceText(id)} -r ${serverText(server)}: no such server`);

const isServer = (id: ServerId) => (server: RealServer) =>
  server.address === id.address && server.port === id.port;

function change(
  table: Table,
  id: ServiceId,
  by: (service: VirtualService) => Reply<VirtualService, TableErrno>,
): TableReply {
  const service = findService(table, id);
  if (!service) return noSuch(id);
  const changed = by(service);
  if (!changed.ok) return changed;
  return ok(table.map((old) => (old === service ? changed.value : old)));
}

/** A whole table, one service and server after the other, by the same rules. */
export function tableOf(services: readonly VirtualService[]): TableReply {
  let table: Table = [];
  for (const { servers, ...service } of services) {
    const added = addService(table, service);
    if (!added.ok) return added;
    table = added.value;
    for (const server of servers) {
      const joined = addServer(table, service.id, server);
      if (!joined.ok) return joined;
      table = joined.value;
    }
  }
  return ok(table);
}
