// What ICS puts around every body. A frame is one array on the wire (msgpackr), its kind first; the
// codec is libs/ics/src/frame.ts, the meaning of the fields is here. The channel (source boot id,
// server boot id, contract, priority) and `seq` give order and at-most-once; `lowWater` tells the server
// which replies it may forget. [Lustre: reply reconstruction]
import { z } from 'zod';
import { endpointNode, incarnation, serviceBootId, serviceName, transId } from './ids.ts';

/** Kinds of frames. Below 16 they go from caller to server. Numbers stay; new ones are appended. */
export const frameKind = {
  /** Runs an operation. */
  call: 1,
  /** Carries nothing but `lowWater`: the server may forget replies. */
  ack: 2,
  /** Asks for the boot id of the server (`welcome`): calls are only ever sent to a boot id that is known. */
  hello: 3,
  /** The caller gave up: abort the call, or skip its number where it never arrived. Repeated until answered. */
  cancel: 4,
  /** The result of a call. */
  reply: 16,
  /** The call is here and in work or queued; no need to send it again soon. */
  progress: 17,
  /** This frame was not run and its number is not used up: another boot id, incarnation, version, or nobody serves it. */
  refused: 18,
  welcome: 19,
} as const;

/** Who sent a frame. `incarnation` is absent for a client, and for a service that knows no view yet. */
export const source = z.object({
  node: endpointNode,
  service: serviceName,
  bootId: serviceBootId,
  incarnation: incarnation.optional(),
});
export type Source = z.infer<typeof source>;

/** Frames from caller to server: call, ack, hello, cancel. */
export const callFrame = z.object({
  kind: z.int().min(1).max(15),
  contract: z.string(),
  version: z.int().min(1),
  op: z.string(),
  from: source,
  /** Node that is meant. */
  to: endpointNode,
  /** The server as the caller knows it, empty in a hello. Another boot id does not run the call. */
  toBootId: z.string(),
  /** The caller's view. A server that is behind waits for its own; a caller that is behind gets ESTALE where the operation says so. */
  transid: transId,
  priority: z.int().min(0).max(3),
  /** The caller's number for the channel, echoed: tells answers to an earlier channel from this one's. */
  channel: z.int().min(0),
  /** Number of this call on its channel, from 1 without gaps; 0 in hello and ack. */
  seq: z.int().min(0),
  /** All calls of the channel below this number are finished at the caller. */
  lowWater: z.int().min(0),
  /**
   * Finished ones above it, as pairs [from, to[: so that one long poll does not make the server keep the
   * replies of everything asked after it. At most 8 pairs, lowest first.
   */
  finished: z.array(z.int().min(1)).max(16),
  /** Time left when sent, ms. */
  timeoutMs: z.number().min(0),
  /** 0 first, then 1.. for each time it is sent again; in a hello any number, echoed. */
  attempt: z.int().min(0),
  /** W3C traceparent, absent when the call is not part of a trace. */
  traceparent: z.string().optional(),
  /** The request as msgpack. */
  body: z.custom<Uint8Array>((v) => v instanceof Uint8Array),
});
export type CallFrame = z.infer<typeof callFrame>;

/** Frames from server to caller: reply, progress, refused, welcome. */
export const replyFrame = z.object({
  kind: z.int().min(16).max(31),
  contract: z.string(),
  from: source,
  /** The caller's boot id, channel, seq and attempt: what this answers. */
  toBootId: serviceBootId,
  channel: z.int().min(0),
  seq: z.int().min(0),
  attempt: z.int().min(0),
  /** The server's view when it answered; callers of a key service refuse one older than they have seen. */
  transid: transId,
  /** From receipt to answer at the server, ms: not part of the round trip. */
  servedMs: z.number().min(0),
  /** A Reply as msgpack; empty in progress and welcome. */
  body: z.custom<Uint8Array>((v) => v instanceof Uint8Array),
});
export type ReplyFrame = z.infer<typeof replyFrame>;
