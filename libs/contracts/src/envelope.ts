// What ICS puts around every body. A frame is one array on the wire (msgpackr): the kind first, then
// the fields below in order. The channel (source boot, priority) and `seq` give order and at-most-once;
// `lowWater` tells the server which replies it may forget. [Lustre: reply reconstruction]
import { z } from 'zod';
import { endpointNode, incarnation, serviceBootId, serviceName, transId } from './ids.ts';

export const frameKind = { call: 1, reply: 2, ack: 3 } as const;

/** Who sent a frame. `incarnation` is absent for a client that is no member. */
export const source = z.object({
  node: endpointNode,
  service: serviceName,
  bootId: serviceBootId,
  incarnation: incarnation.optional(),
});
export type Source = z.infer<typeof source>;

export const callFrame = z.object({
  contract: z.string(),
  version: z.int().min(1),
  op: z.string(),
  from: source,
  /** The server as the caller knows it; absent until its first reply. Another boot id: not run, ESTALE or ETIMEDOUT at the caller. */
  toBootId: serviceBootId.optional(),
  toIncarnation: incarnation.optional(),
  /** The caller's view. A server that is behind waits; a caller that is behind gets ESTALE where the operation says so. */
  transid: transId,
  priority: z.int().min(0).max(3),
  /** Number of this call on its channel (source boot, service, priority), from 1 without gaps. */
  seq: z.int().min(1),
  /** All calls of the channel below this number are finished at the caller. */
  lowWater: z.int().min(1),
  /** Time left when sent, ms. */
  timeoutMs: z.number().positive(),
  /** 0 first, then 1.. for each time it is sent again. */
  attempt: z.int().min(0),
  /** W3C traceparent, absent when the call is not part of a trace. */
  traceparent: z.string().optional(),
  body: z.unknown(),
});
export type CallFrame = z.infer<typeof callFrame>;

export const replyFrame = z.object({
  from: source,
  /** The caller's boot id, priority and seq: which call this answers. */
  toBootId: serviceBootId,
  contract: z.string(),
  priority: z.int().min(0).max(3),
  seq: z.int().min(1),
  /** The server's view when it answered; callers of a key service refuse one older than they have seen. */
  transid: transId,
  body: z.unknown(),
});
export type ReplyFrame = z.infer<typeof replyFrame>;
