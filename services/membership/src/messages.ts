// What travels on the heartbeat channel. Each message names the life it comes from; those that decide
// over a lease or a promise name the life they are for, so that none outlives either.
import { incarnation, member, nodeNum, transId } from '@ssi/contracts';
import { z } from 'zod';

const term = z.int().min(0);
const seq = z.int().min(0);
const from = member;
const clusterId = z.string();

export const heartbeatMessage = z.discriminatedUnion('type', [
  /** Master to members and joiners: I am master. An acknowledgement is a promise. */
  z.object({ type: z.literal('beat'), from, clusterId, term, seq, transid: transId }),
  /** Member to master: promised; `ping` asks for an answer as below. */
  z.object({
    type: z.literal('ack'),
    from,
    term,
    seq,
    ping: seq,
    transid: transId,
    /** The sender reaches the KV. */
    broker: z.boolean(),
  }),
  /** Member to whoever may be master, when no heartbeat comes. */
  z.object({ type: z.literal('ping'), from, ping: seq, transid: transId }),
  /** Master with a mandate to a member: your ping counts. */
  z.object({
    type: z.literal('pong'),
    from,
    to: incarnation,
    term,
    ping: seq,
    transid: transId,
  }),
  /** Master with a mandate to a node whose life is not in the view (any more). */
  z.object({ type: z.literal('excluded'), from, to: incarnation, term, transid: transId }),
  /** Candidate to voters. */
  z.object({ type: z.literal('vote'), from, clusterId, term, seq, transid: transId }),
  z.object({ type: z.literal('granted'), from, term, seq, transid: transId }),
  /** Not now; `term` is what this voter promised. */
  z.object({
    type: z.literal('refused'),
    from,
    term,
    /** It follows a master it hears: whoever asks is too early. */
    follows: z.boolean(),
  }),
  /** A master gives promises back, for `next` to stand first (0: anyone); a candidate that never was master. */
  z.object({
    type: z.literal('release'),
    from,
    term,
    reigned: z.boolean(),
    next: nodeNum.or(z.literal(0)),
  }),
]);
export type HeartbeatMessage = z.infer<typeof heartbeatMessage>;
export type Heartbeat<T extends HeartbeatMessage['type']> = Extract<HeartbeatMessage, { type: T }>;
