// Contract of services/ics-router: the node map (endpoints and transports of each node), channel
// states, round trips, and the grants that open out-of-line streams. v1: first version.
import { z } from 'zod';
import { defineContract, message, rpc } from './contract.ts';
import { endpointNode, incarnation, member, nodeNum, serviceBootId, serviceName } from './ids.ts';
import { type NodeState, serviceOps } from './service.ts';

export const transportName = z.enum(['nats', 'tcp', 'memory']);
export type TransportName = z.infer<typeof transportName>;

/** Where a service of a node is reached directly. */
export const serviceEndpoint = z.object({
  node: nodeNum,
  incarnation,
  service: serviceName,
  bootId: serviceBootId,
  /** host:port for each interconnect, best first; empty: bus only. */
  tcp: z.array(z.object({ host: z.string(), port: z.int() })),
});
export type ServiceEndpoint = z.infer<typeof serviceEndpoint>;

/** Whether a member in this state may still be talked to; in every other one its incarnation is gone. */
export const talksIn = (state: NodeState): boolean =>
  state === 'COMINGUP' || state === 'UP' || state === 'SHUTDOWN';

/**
 * What is worth nothing any more: serial numbers of certificates, and boot ids of lives of nodes. Bounded:
 * the oldest are forgotten. Absent: nothing.
 */
const revoked = z.array(z.string().max(64)).max(1_024).optional();

export const channelState = z.enum(['opening', 'up', 'flushing', 'down']);

export const ics = defineContract('ics', 1, {
  ...serviceOps,
  register: rpc({
    callers: ['service@node'],
    summary:
      'A service of this node tells where it is reached; answered with the whole node map. Repeated after every start.',
    request: serviceEndpoint,
    reply: z.object({ map: z.array(serviceEndpoint), revoked }),
    errnos: ['EAGAIN', 'ESTALE'],
    priority: 2,
  }),
  watch: rpc({
    callers: ['service@node'],
    summary:
      'A service of this node waits for the node map to be another than the one it has; answered at once where it is. Asked again after each answer, which also says that the map was taken over.',
    request: z.object({
      service: serviceName,
      /** `digest` of the last answer, empty at first. */
      digest: z.string(),
    }),
    reply: z.object({ map: z.array(serviceEndpoint), digest: z.string(), revoked }),
    errnos: ['EAGAIN', 'ESTALE'],
    priority: 2,
    longPoll: true,
    timeoutMs: 60_000,
  }),
  map: message({
    callers: ['ics'],
    summary:
      "The services of the sender's node, sent from router to router when they changed and when a ping showed that the other has not got them.",
    request: z.object({ node: endpointNode, map: z.array(serviceEndpoint), revoked }),
    reply: z.undefined(),
    priority: 3,
  }),
  revoke: rpc({
    callers: ['admin'],
    summary:
      'What is named here is refused from now on by every service of this node, and soon of every other: the routers tell each other. Idempotent.',
    request: z.object({ revoked: z.array(z.string().max(64)).max(16) }),
    reply: z.object({}),
    errnos: [],
    priority: 2,
  }),
  grant: rpc({
    callers: ['vproc@node'],
    summary:
      'Opens an out-of-line stream to a service of this node: a one-time token and where to connect. EHOSTDOWN: the channel to the peer is down or flushing.',
    request: z.object({
      service: serviceName,
      /** The node that will connect; 0 for a client. */
      peer: endpointNode,
      purpose: z.string().max(32),
    }),
    reply: z.object({
      /** 32 hex digits; bound to this stream, presented again with the offset to resume. */
      token: z.string().regex(/^[0-9a-f]{32}$/),
      addresses: z.array(z.string()),
    }),
    errnos: ['EHOSTDOWN', 'EAGAIN'],
    priority: 2,
  }),
  route: rpc({
    callers: ['vproc@node'],
    summary:
      'Best way to a node as measured: its addresses in order of round trip. EHOSTDOWN as for `grant`.',
    request: z.object({ peer: member }),
    reply: z.object({ addresses: z.array(z.string()), rttMs: z.number() }),
    errnos: ['EHOSTDOWN', 'EAGAIN'],
    priority: 2,
  }),
  ping: rpc({
    callers: ['ics'],
    summary:
      "Answers at once: the other router is there, and has or has not got the services of the caller's node.",
    request: z.object({
      /** Of the services of the caller's node. */
      digest: z.string(),
    }),
    reply: z.object({ mapWanted: z.boolean() }),
    errnos: [],
    priority: 3,
    timeoutMs: 1_000,
  }),
  channels: rpc({
    callers: ['read'],
    summary:
      'State, transport, round trip and throttling counters of the channel to each node. [ics_geticsinfo]',
    request: z.object({}),
    reply: z.object({
      channels: z.array(
        z.object({
          node: nodeNum,
          state: channelState,
          transport: transportName.optional(),
          rttMs: z.partialRecord(transportName, z.number()),
          counters: z.record(z.string(), z.number()),
        }),
      ),
    }),
    errnos: [],
  }),
});
