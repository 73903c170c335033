// Operations that every service of a node serves for its membership service, spread into each
// contract: the view as it changes, and this service's step of the ordered nodedown. [OpenSSI CLMS]
import { z } from 'zod';
import { message, rpc } from './contract.ts';
import { incarnation, member, nodeNum, serviceName, transId } from './ids.ts';
import { type KeyService, keyName, keyService } from './key-service.ts';

/** OpenSSI's node states, spelled as CLMS spells them. */
export const nodeState = z.enum([
  'NEVERUP',
  'COMINGUP',
  'UP',
  'SHUTDOWN',
  'GOINGDOWN',
  'KCLEANUP',
  'UCLEANUP',
  'DOWN',
]);
export type NodeState = z.infer<typeof nodeState>;

/** What a node says of itself when it joins. [CI: join facts] */
export const nodeFacts = z.object({
  /** IPv4 addresses the other nodes reach it at, best first: one for each interconnect. */
  addresses: z.array(z.string()),
  cpus: z.int().min(1),
  memBytes: z.int().min(0),
  /** uname -r */
  kernel: z.string(),
  arch: z.string(),
  /** CPU flags of /proc/cpuinfo, sorted. */
  cpuFlags: z.array(z.string()),
  /** True where native processes run (namespaces and criu); false: actors only. */
  native: z.boolean(),
  /** UDP and TCP ports of the heartbeat channel, 0 when there is none. */
  heartbeatPorts: z.object({ udp: z.int(), tcp: z.int() }),
  /** Contract versions served, by contract: [min, max]. */
  versions: z.record(z.string(), z.tuple([z.int(), z.int()])),
  /** Key services that this node can run, sorted; absent: none. */
  keyServices: z.array(keyName).optional(),
});
export type NodeFacts = z.infer<typeof nodeFacts>;

export const viewMember = z.object({
  num: nodeNum,
  name: z.string().max(64),
  incarnation,
  state: nodeState,
  facts: nodeFacts,
  /** While the nodedown steps for this member run: the step, and the nodes that have not acknowledged it. */
  step: z.object({ name: z.string(), waitingFor: z.array(nodeNum) }).optional(),
});
export type ViewMember = z.infer<typeof viewMember>;

/** The numbered, agreed membership: the same on every node at a transid. */
export const view = z.object({
  transid: transId,
  /** Grows with each takeover of the CLMS master. */
  term: z.int().min(0),
  master: nodeNum,
  /** Every node ever seen, sorted by number; DOWN ones stay listed. */
  members: z.array(viewMember),
  /** Where each key service is active, by name. */
  keyServices: z.record(keyName, keyService),
  pidBits: z.union([z.literal(14), z.literal(16)]),
});
export type View = z.infer<typeof view>;

export const upMembers = (v: View): ViewMember[] => v.members.filter((m) => m.state === 'UP');

export const findMember = (v: View, num: number): ViewMember | undefined =>
  v.members.find((m) => m.num === num);

/** Who is the active instance; undefined: nobody now. */
export function activeInstance(view: View, name: string): KeyService | undefined {
  const key = view.keyServices[name];
  return key && findMember(view, key.num)?.state === 'UP' ? key : undefined;
}

/** Order of the nodedown steps. [OpenSSI: nodedown order] */
export const nodedownSteps = ['ics', 'dlm', 'cfs', 'ipc', 'vproc', 'script'] as const;
export type NodedownStep = (typeof nodedownSteps)[number];

export const serviceOps = {
  view: message({
    callers: ['clms@node'],
    summary:
      'The view this node has applied, and what this node is in it; sent on every change and at attach.',
    request: z.object({
      view,
      self: member,
      /** False from the moment the lease lapsed until a master answers again. */
      leased: z.boolean(),
    }),
    reply: z.undefined(),
    priority: 3,
  }),
  nodedown: rpc({
    callers: ['clms@node'],
    summary:
      "This service's step of a nodedown; idempotent by (transid, dead). The reply is the acknowledgement.",
    request: z.object({ transid: transId, dead: z.array(member) }),
    reply: z.object({}),
    errnos: ['EIO'],
    priority: 2,
    timeoutMs: 10_000,
  }),
  standDown: rpc({
    callers: ['clms'],
    summary:
      'The active instance of a key service stops to serve: the reply says that it answers nobody any more under this epoch. Idempotent. A service that is no key service has no handler (ENOSYS).',
    request: z.object({ name: keyName, since: transId }),
    reply: z.object({}),
    errnos: ['EIO'],
    priority: 2,
    timeoutMs: 10_000,
  }),
  status: rpc({
    callers: ['read', 'clms@node'],
    summary: 'Health and counters of this service, for people and for health checks.',
    request: z.object({}),
    reply: z.object({
      service: serviceName,
      state: z.string(),
      uptimeMs: z.number(),
      counters: z.record(z.string(), z.number()),
    }),
    errnos: [],
  }),
} as const;
