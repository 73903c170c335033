// A credential: the file that one service of a node, or one person, proves itself with. Its holder is that
// endpoint; so it is readable by its owner only, and goes on no command line.
import { z } from 'zod';
import { endpointNode, serviceName } from './ids.ts';

/** Name in the certificate of a node; `_` is no character of a host. */
export const nodeHost = (cluster: string, num: number): string =>
  `n${num}.${cluster.replaceAll('_', '--')}.ssi`;
/** Name in the certificate of the bus, and of who gives credentials out. */
export const busHost = (cluster: string): string => `bus.${cluster.replaceAll('_', '--')}.ssi`;

export const credential = z.object({
  cluster: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/),
  node: endpointNode,
  /** A contract's name, or a person's principal. */
  service: serviceName,
  /** nats://host:port of the bus, several with commas; absent: its holder is told otherwise. */
  nats: z.string().optional(),
  /** Seed of its nkey. [NATS: nkeys] */
  seed: z.string().regex(/^SU[A-Z2-7]{56}$/),
  /** Certificate of the cluster's authority, PEM. */
  ca: z.string(),
  /**
   * Direct connections are encrypted, but to addresses that begin with `machine`, which do not leave it.
   * Absent: none is.
   */
  encrypt: z.object({ machine: z.string().optional() }).optional(),
  /** The node's own, with its key, PEM; a person has none. */
  certificate: z.object({ pem: z.string(), key: z.string() }).optional(),
  /** Of a membership: what heartbeats are proven with, 32 bytes, hex; the same on every node. [RFC 2104] */
  heartbeatKey: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});
export type Credential = z.infer<typeof credential>;

/** What such a file says; undefined: it is no credential. */
export function parseCredential(text: string): Credential | undefined {
  try {
    return credential.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
