// What may be done to the kept table: virtual services, the cluster's addresses, the ports that programs join. All
// changes of one request or none; the old table is left as it was.
import {
  type DirectorTable,
  fail,
  findMember,
  ok,
  type PortRange,
  type Reply,
  type ServiceId,
  type TableChange,
  type View,
} from '@ssi/contracts';
import {
  addServer,
  addService,
  deleteServer,
  deleteService,
  editServer,
  editService,
  serviceText,
  type Table,
  type TableErrno,
} from '@ssi/lvs';

export type ChangeErrno = TableErrno | 'EADDRNOTAVAIL' | 'EOPNOTSUPP';
type Changed = Reply<DirectorTable, ChangeErrno>;

export const addressesMax = 8;
export const rangesMax = 64;
/** Ports of a range: each that is listened on becomes a service. */
export const rangePortsMax = 1_024;

export function changed(
  table: DirectorTable,
  changes: readonly TableChange[],
  view: View | undefined,
): Changed {
  let now = table;
  for (const change of changes) {
    const next = apply(now, change, view);
    if (!next.ok) return next;
    now = next.value;
  }
  const mixed = now.services.find(
    ({ servers }) => new Set(servers.map((s) => s.forward === 'route')).size > 1,
  );
  if (mixed)
    return fail(
      'EOPNOTSUPP',
      `${serviceText(mixed.id)}: servers by route (-g) and by NAT (-m, --fullnat) do not go together`,
    );
  return ok(now);
}

function apply(table: DirectorTable, change: TableChange, view: View | undefined): Changed {
  const services = (next: Reply<Table, TableErrno>): Changed =>
    next.ok ? ok({ ...table, services: [...next.value] }) : next;
  switch (change.do) {
    case 'add-service':
    case 'edit-service': {
      const fault = notOurs(table, change.service.id);
      if (fault) return fail('EADDRNOTAVAIL', fault);
      const by = change.do === 'add-service' ? addService : editService;
      return services(by(table.services, change.service));
    }
    case 'delete-service':
      return services(deleteService(table.services, change.id));
    case 'add-server':
    case 'edit-server': {
      const { node } = change.server;
      if (node !== undefined && view && !findMember(view, node))
        return fail('EINVAL', `no node ${node} in this cluster: ${nums(view)} are`);
      const by = change.do === 'add-server' ? addServer : editServer;
      return services(by(table.services, change.id, change.server));
    }
    case 'delete-server':
      return services(deleteServer(table.services, change.id, change.server));
    case 'clear':
      return ok({ ...table, services: [] });
    case 'add-address':
      return addAddress(table, change.address);
    case 'delete-address':
      return deleteAddress(table, change.address);
    case 'add-ports':
      return addPorts(table, change.ports);
    case 'delete-ports':
      return deletePorts(table, change.ports);
  }
}

const nums = (view: View): string => view.members.map((m) => m.num).join(' ');

/** Packets for other addresses do not come here. */
function notOurs(table: DirectorTable, id: ServiceId): string | undefined {
  if (id.protocol === 'fwmark' || table.addresses.includes(id.address)) return undefined;
  const ours = table.addresses.join(' ') || 'none yet';
  return `${serviceText(id)}: not an address of the cluster (${ours}); see: ssi lvs address`;
}

function addAddress(table: DirectorTable, address: string): Changed {
  if (table.addresses.includes(address))
    return fail('EEXIST', `${address}: the cluster has this address`);
  if (table.addresses.length >= addressesMax)
    return fail('ENOSPC', `the cluster has ${addressesMax} addresses`);
  return ok({ ...table, addresses: [...table.addresses, address] });
}

function deleteAddress(table: DirectorTable, address: string): Changed {
  if (!table.addresses.includes(address))
    return fail('ENOENT', `${address}: not an address of the cluster`);
  const used = table.services.find(({ id }) => id.protocol !== 'fwmark' && id.address === address);
  if (used) return fail('EBUSY', `${address}: ${serviceText(used.id)} goes by it`);
  return ok({ ...table, addresses: table.addresses.filter((a) => a !== address) });
}

export const rangeText = (r: Pick<PortRange, 'start' | 'end' | 'protocol'>): string =>
  `${r.protocol} ${r.start === r.end ? r.start : `${r.start}-${r.end}`}`;

function addPorts(table: DirectorTable, range: PortRange): Changed {
  const text = rangeText(range);
  if (range.end < range.start) return fail('EINVAL', `${text}: ends before it starts`);
  if (range.end - range.start >= rangePortsMax)
    return fail('EINVAL', `${text}: more than ${rangePortsMax} ports`);
  const bad = range.flags.find((flag) => !flag.startsWith(`${range.scheduler}-`));
  if (bad) return fail('EINVAL', `${text}: flag ${bad} is not one of ${range.scheduler}`);
  const other = table.ports.find(
    (r) => r.protocol === range.protocol && r.start <= range.end && range.start <= r.end,
  );
  if (other) return fail('EBUSY', `${text}: overlaps ${rangeText(other)}`);
  if (table.ports.length >= rangesMax) return fail('ENOSPC', `there are ${rangesMax} ranges`);
  return ok({ ...table, ports: [...table.ports, range] });
}

function deletePorts(
  table: DirectorTable,
  range: Pick<PortRange, 'start' | 'end' | 'protocol'>,
): Changed {
  const left = table.ports.filter((r) => rangeText(r) !== rangeText(range));
  if (left.length === table.ports.length) {
    const there = table.ports.map(rangeText).join(', ') || 'none';
    return fail('ENOENT', `${rangeText(range)}: no such range; there is: ${there}`);
  }
  return ok({ ...table, ports: left });
}
