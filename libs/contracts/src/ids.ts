// Identities that every contract shares: node numbers, incarnations, transition ids, pids, endpoints.
// A node is named by its number for good and by its incarnation for one life; whatever outlives a
// message carries both, so that a word from a former life is recognised. [OpenSSI CLMS, ICS]
import { z } from 'zod';

/** Node number, 1..1023, kept across boots. Native pids allow 1..63 (pidBits 16) or 1..255 (14). */
export const nodeNum = z.int().min(1).max(1023);
export type NodeNum = z.infer<typeof nodeNum>;

/** Endpoint node number: a NodeNum, or 0 for a client that is not a member (command line, library). */
export const endpointNode = z.int().min(0).max(1023);

/** One life of a node. Equal boot counts with other boot ids are different incarnations. */
export const incarnation = z.object({
  /** Grows by one at each join of this node number; 0 is never used. */
  bootCount: z.int().min(1),
  /** Random, 16 hex digits. */
  bootId: z.string().regex(/^[0-9a-f]{16}$/),
});
export type Incarnation = z.infer<typeof incarnation>;

/** Id of a membership transition: grows with each committed view, by more where a master takes over; 0 is "no view yet". */
export const transId = z.int().min(0);
export type TransId = z.infer<typeof transId>;

/** Random id of one start of one service process, 16 hex digits. */
export const serviceBootId = z.string().regex(/^[0-9a-f]{16}$/);

/** Process, group or session id, unique in the cluster: node k hands out k*2^pidBits .. +2^pidBits-1. */
export const pid = z.int().min(1).max(4_194_303);
export type Pid = z.infer<typeof pid>;

/** A node at one incarnation. */
export const member = z.object({ num: nodeNum, incarnation });
export type MemberId = z.infer<typeof member>;

export const sameIncarnation = (a: Incarnation, b: Incarnation): boolean =>
  a.bootCount === b.bootCount && a.bootId === b.bootId;

/** Service name as it stands in subjects: a contract's name, or a client's random name. */
export const serviceName = z.string().regex(/^[A-Za-z0-9_]{1,32}$/);
