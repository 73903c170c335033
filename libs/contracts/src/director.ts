// Contract of services/lvs-director: the virtual server table and the cluster's addresses. Every node has an
// instance; the active one (key service `lvs`) holds the addresses and takes changes, all of them keep the table.
// v1: first version. [OpenSSI: CVIP, HA-LVS, setport_weight(8); ipvsadm(8)]
import { z } from 'zod';
import { defineContract, message, rpc } from './contract.ts';
import { nodeNum, transId } from './ids.ts';
import {
  realServer,
  schedulerFlag,
  schedulerName,
  serviceId,
  type VirtualService,
  virtualService,
} from './lvs.ts';
import { serviceOps } from './service.ts';

/** The key service whose active instance is the director. */
export const directorKey = 'lvs';

const portNumber = z.int().min(1).max(65_535);

/**
 * A range of ports that programs join by themselves: whoever listens on one, on any node, becomes a real server of
 * a virtual service of each cluster address with that port. [OpenSSI setport_weight: --start-port --end-port --weight]
 */
export const portRange = z.object({
  start: portNumber,
  end: portNumber,
  protocol: z.enum(['tcp', 'udp']),
  /** Of each node that listens. */
  weight: z.int().min(0).max(65_535),
  scheduler: schedulerName,
  flags: z.array(schedulerFlag).max(2),
});
export type PortRange = z.infer<typeof portRange>;

/** What is kept: by every instance, on its disk. */
export const directorTable = z.object({
  addresses: z.array(z.ipv4()).max(8),
  ports: z.array(portRange).max(64),
  services: z.array(virtualService).max(1_024),
});
export type DirectorTable = z.infer<typeof directorTable>;

/** Of two the greater is newer: first by epoch (a director's), then by how often that one changed it. */
export const tableVersion = z.object({ epoch: transId, counter: z.int().min(0) });
export type TableVersion = z.infer<typeof tableVersion>;

const serviceOptions = virtualService.omit({ servers: true });
const serverId = realServer.pick({ address: true, port: true });

/** In ipvsadm's words, with addresses and ports besides. */
export const tableChange = z.discriminatedUnion('do', [
  z.object({ do: z.literal('add-service'), service: serviceOptions }),
  z.object({ do: z.literal('edit-service'), service: serviceOptions }),
  z.object({ do: z.literal('delete-service'), id: serviceId }),
  z.object({ do: z.literal('add-server'), id: serviceId, server: realServer }),
  z.object({ do: z.literal('edit-server'), id: serviceId, server: realServer }),
  z.object({ do: z.literal('delete-server'), id: serviceId, server: serverId }),
  z.object({ do: z.literal('clear') }),
  z.object({ do: z.literal('add-address'), address: z.ipv4() }),
  z.object({ do: z.literal('delete-address'), address: z.ipv4() }),
  z.object({ do: z.literal('add-ports'), ports: portRange }),
  z.object({
    do: z.literal('delete-ports'),
    ports: portRange.pick({ start: true, end: true, protocol: true }),
  }),
]);
export type TableChange = z.infer<typeof tableChange>;

/** A socket of a node that takes connections for any of its addresses. */
export const listener = z.object({ protocol: z.enum(['tcp', 'udp']), port: portNumber });
export type Listener = z.infer<typeof listener>;

/** A connection to a cluster address, as the node that has it sees it. */
export const clientFlow = z.object({
  protocol: z.enum(['tcp', 'udp']),
  client: z.ipv4(),
  clientPort: portNumber,
  address: z.ipv4(),
  port: portNumber,
});
export type ClientFlow = z.infer<typeof clientFlow>;

const changeErrnos = [
  'EADDRINUSE',
  'EADDRNOTAVAIL',
  'EAGAIN',
  'EBUSY',
  'EEXIST',
  'EINVAL',
  'EIO',
  'ENOENT',
  'ENOSPC',
  'EOPNOTSUPP',
  'EREMCHG',
] as const;

const count = z.number().min(0);
export const serverCounts = z.object({
  id: serviceId,
  address: z.ipv4(),
  port: z.int(),
  active: count,
  inactive: count,
  connections: count,
  inPackets: count,
  inBytes: count,
  outPackets: count,
  outBytes: count,
});
export type ServerCounts = z.infer<typeof serverCounts>;

/** Why a real server is not in its pool. */
export const outReason = z.enum(['node', 'check']);

export const lvs = defineContract('lvs', 1, {
  ...serviceOps,
  change: rpc({
    callers: ['admin'],
    summary:
      'Changes the table, all of it or nothing; answered when the packets go by it and every UP node keeps it. EINVAL does not fit together; EEXIST, ENOENT there is one, there is none; EBUSY overlaps another, or a table of that name is in the way; ENOSPC; EADDRINUSE somebody on the network has the address; EADDRNOTAVAIL it is in no network of the nodes, or not the cluster’s; EOPNOTSUPP not by this data plane; EIO refused by the system; EREMCHG ask that node; EAGAIN no right to serve now. Not idempotent: a repetition finds EEXIST, ENOENT.',
    request: z.object({ changes: z.array(tableChange).min(1).max(8_192) }),
    reply: z.object({ version: tableVersion }),
    errnos: changeErrnos,
    calls: ['lvs.keep'],
    timeoutMs: 20_000,
  }),
  table: rpc({
    callers: ['read'],
    summary:
      'The table, and what is in the pools at the moment: with what joined by listening, without what is out. EREMCHG ask that node; EAGAIN nobody directs now.',
    request: z.object({}),
    reply: z.object({
      node: nodeNum,
      version: tableVersion,
      table: directorTable,
      pools: z.array(virtualService),
      /** Servers of the table that are not in their pool, by `serviceText serverText`. */
      out: z.record(z.string(), outReason),
      /** What it last could not have the packets do. */
      fault: z.string().optional(),
    }),
    errnos: ['EREMCHG', 'EAGAIN'],
  }),
  stats: rpc({
    callers: ['read'],
    summary:
      'Counts of each real server in a pool since it came or since `zero`; what the director never sees (replies with direct routing) is 0. EREMCHG, EAGAIN as `table`; EIO the system does not tell.',
    request: z.object({}),
    reply: z.object({ atMs: z.number(), servers: z.array(serverCounts) }),
    errnos: ['EREMCHG', 'EAGAIN', 'EIO'],
  }),
  zero: rpc({
    callers: ['admin'],
    summary: 'Counts begin anew, of one service or all. [ipvsadm -Z] Idempotent.',
    request: z.object({ id: serviceId.optional() }),
    reply: z.object({}),
    errnos: ['EREMCHG', 'EAGAIN', 'EIO', 'ENOENT'],
  }),
  keep: rpc({
    callers: ['lvs'],
    summary:
      'The director hands the table on to be kept. ESTALE: a newer one is kept here; EIO: the disk refuses. Idempotent by version.',
    request: z.object({ version: tableVersion, table: directorTable }),
    reply: z.object({}),
    errnos: ['ESTALE', 'EIO'],
    priority: 1,
  }),
  kept: rpc({
    callers: ['lvs'],
    summary:
      'Asked by one that takes over: the table kept here, who listens here, and which connections of these addresses are here. From the answer on nothing older than that epoch is kept.',
    request: z.object({ epoch: transId }),
    reply: z.object({
      version: tableVersion,
      table: directorTable,
      listeners: z.array(listener),
      flows: z.array(clientFlow),
    }),
    errnos: ['EIO'],
    priority: 1,
  }),
  report: message({
    callers: ['lvs'],
    summary: 'A node to the director: who listens there now, and which table it keeps.',
    request: z.object({ version: tableVersion, listeners: z.array(listener) }),
    reply: z.undefined(),
    priority: 1,
  }),
});

export const emptyTable: DirectorTable = { addresses: [], ports: [], services: [] };

export const newerVersion = (a: TableVersion, b: TableVersion): boolean =>
  a.epoch > b.epoch || (a.epoch === b.epoch && a.counter > b.counter);

/** How a service of a port that programs join is known: its scheduler and weight are the range's. */
export const joinedService = (
  address: string,
  port: number,
  range: PortRange,
): Omit<VirtualService, 'servers'> => ({
  id: { protocol: range.protocol, address, port },
  scheduler: range.scheduler,
  flags: range.flags,
});
