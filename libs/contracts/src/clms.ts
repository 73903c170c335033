// Contract of services/membership (CLMS): who is a member, who is master, the right to run.
// Heartbeats do not travel here: they have a channel of their own (services/membership).
// v1: first version.
import { z } from 'zod';
import { defineContract, message, rpc } from './contract.ts';
import { incarnation, member, nodeNum, serviceBootId, serviceName, transId } from './ids.ts';
import { keyName } from './key-service.ts';
import { nodeFacts, nodeState, serviceOps, view } from './service.ts';

export const clms = defineContract('clms', 1, {
  ...serviceOps,
  /** Also the master's word to the members. */
  view: { ...serviceOps.view, callers: ['clms'] },
  attach: rpc({
    callers: ['service@node'],
    summary:
      'A service of this node announces itself; it gets the view now and every change by its `view` operation. Repeated after each start and whenever membership restarts.',
    request: z.object({ service: serviceName, bootId: serviceBootId, pid: z.int().min(0) }),
    reply: z.object({ view, self: member, leased: z.boolean(), cluster: z.string() }),
    errnos: ['EAGAIN'],
    priority: 2,
  }),
  join: rpc({
    callers: ['clms'],
    summary:
      'A node asks the master to be a member; the commit shows in the next view. EEXIST: the number is in use by a living incarnation; EAGAIN: its former life is not cleaned up yet; EREMCHG: ask that node; EACCES: wrong cluster.',
    request: z.object({
      num: nodeNum,
      name: z.string().min(1).max(64),
      incarnation,
      facts: nodeFacts,
    }),
    reply: z.object({ transid: transId }),
    errnos: ['EEXIST', 'EAGAIN', 'EREMCHG', 'EACCES', 'EINVAL'],
    priority: 1,
  }),
  ready: rpc({
    callers: ['clms'],
    summary: 'A COMINGUP node has finished its own start and asks to be UP.',
    request: z.object({ member }),
    reply: z.object({ transid: transId }),
    errnos: ['EAGAIN', 'EREMCHG', 'ESTALE'],
    priority: 1,
  }),
  leave: rpc({
    callers: ['clms'],
    summary: 'A node goes down in good order (SHUTDOWN, then DOWN at once, quorum adapts).',
    request: z.object({ member }),
    reply: z.object({ transid: transId }),
    errnos: ['EAGAIN', 'EREMCHG', 'ESTALE'],
    priority: 1,
  }),
  step: rpc({
    callers: ['clms'],
    summary:
      'The master has this node run one nodedown step in its service; the reply acknowledges it.',
    request: z.object({ transid: transId, step: z.string(), dead: z.array(member) }),
    reply: z.object({}),
    errnos: ['EIO', 'ESTALE'],
    priority: 1,
    timeoutMs: 10_000,
    calls: ['ics.nodedown', 'vproc.nodedown'],
  }),
  confirm: rpc({
    callers: ['service@node'],
    summary:
      'Asked by a service of the same node before it does what cannot be taken back: is this node leased in the newest view this membership knows, and is the named peer still that incarnation and UP? EHOSTDOWN: the peer is not; ENETDOWN: this node has no lease.',
    request: z.object({ peer: member.optional() }),
    reply: z.object({ transid: transId, leaseMs: z.number() }),
    errnos: ['EHOSTDOWN', 'ENETDOWN', 'EAGAIN'],
    priority: 3,
  }),
  members: rpc({
    callers: ['read', 'clms', 'vproc@node'],
    summary:
      'The view this node has applied, with the services it runs. EAGAIN: this life of it is in no view yet (`stored`: what it remembers all the same, for a candidate). [clusternode_info(3)]',
    request: z.object({ stored: z.boolean().optional() }),
    reply: z.object({
      view,
      self: member,
      leased: z.boolean(),
      services: z.array(z.object({ name: serviceName, state: z.string() })),
    }),
    errnos: ['EAGAIN'],
  }),
  history: rpc({
    callers: ['read'],
    summary: 'Transitions this node has applied, newest last. [cluster_detailedtransition(3)]',
    request: z.object({ since: transId.optional() }),
    reply: z.object({
      events: z.array(
        z.object({
          transid: transId,
          /** Wall clock of the node that tells, ms since 1970: for people only. */
          atMs: z.number(),
          num: nodeNum,
          from: nodeState,
          to: nodeState,
          detail: z.string(),
        }),
      ),
    }),
    errnos: ['EAGAIN'],
  }),
  handover: rpc({
    callers: ['admin', 'clms'],
    summary:
      'Asks the master to move a key service to another node: the active instance stands down first. The reply comes when the view names the new one. ENOENT: no such key service; EINVAL: that node does not offer it or is not UP; EAGAIN: no other node can take it, or it is handed over already; EIO: the instance did not stand down and goes on.',
    request: z.object({ service: keyName, to: nodeNum.optional() }),
    reply: z.object({ transid: transId, num: nodeNum }),
    errnos: ['ENOENT', 'EINVAL', 'EAGAIN', 'EIO', 'EREMCHG'],
    timeoutMs: 15_000,
  }),
  shutdown: rpc({
    callers: ['admin'],
    summary:
      "Take this node down in good order: leave, then stop serving. Draining is the caller's part.",
    request: z.object({}),
    reply: z.object({ transid: transId }),
    errnos: ['EAGAIN'],
    timeoutMs: 15_000,
    calls: ['clms.leave'],
  }),
  bootstrap: rpc({
    callers: ['admin'],
    summary:
      'Start a cluster although a majority of its last stored view is missing. For people who know why.',
    request: z.object({ force: z.literal(true) }),
    reply: z.object({ transid: transId }),
    errnos: ['EALREADY', 'EAGAIN'],
  }),
  suspect: message({
    callers: ['clms'],
    summary: 'A monitor reports a node whose heartbeats stopped; the master judges.',
    request: z.object({ num: nodeNum, silentMs: z.number(), health: z.int().min(0) }),
    reply: z.undefined(),
    priority: 3,
  }),
});
