// The model of the Linux Virtual Server in ipvsadm's words: virtual services, the real servers behind each,
// how one is chosen. What a field may be alone is said here; what fits together, in @ssi/lvs. [ipvsadm(8)]
import { z } from 'zod';
import { nodeNum } from './ids.ts';
import { serverHealth, serviceHealth } from './lvs-health.ts';

export const schedulerName = z.enum([
  'rr',
  'wrr',
  'lc',
  'wlc',
  'sed',
  'nq',
  'sh',
  'dh',
  'mh',
  'fo',
  'ovf',
  'lblc',
  'lblcr',
  'twos',
]);
export type SchedulerName = z.infer<typeof schedulerName>;

/** `-b`: each belongs to the scheduler it begins with. fallback: another server where the chosen one may not; port: hashed with. */
export const schedulerFlag = z.enum(['sh-fallback', 'sh-port', 'mh-fallback', 'mh-port']);
export type SchedulerFlag = z.infer<typeof schedulerFlag>;

const port = z.int().min(0).max(65_535);

/**
 * masq: NAT, the server's way back leads through the director. fullnat: NAT that also puts the director's
 * address in the place of the client's, so that any way back will do. route, tunnel: ipvsadm's -g and -i.
 */
export const forwarding = z.enum(['masq', 'fullnat', 'route', 'tunnel']);
export type Forwarding = z.infer<typeof forwarding>;

export const realServer = z.object({
  address: z.ipv4(),
  /** 0: the port that the client asked for; with a mark, or a service of all ports. */
  port,
  forward: forwarding,
  /** 0: quiesced, nothing new and what it has goes on. [ipvsadm(8): -w] */
  weight: z.int().min(0).max(2_147_483_647),
  /** Connections above which it gets nothing new; 0: no bound. [-x] */
  upper: port,
  /** Below it gets new ones again; 0: three quarters of `upper`. [-y] */
  lower: port,
  /** The node it is on: in the pool only while that is UP. Absent: none of the cluster's. */
  node: nodeNum.optional(),
  /** How it is checked; absent: not at all. */
  health: serverHealth.optional(),
});
export type RealServer = z.infer<typeof realServer>;

/** What a client asks for: an address and port, or packets with a mark (netfilter's). */
export const serviceId = z.discriminatedUnion('protocol', [
  z.object({ protocol: z.enum(['tcp', 'udp']), address: z.ipv4(), port }),
  z.object({ protocol: z.literal('fwmark'), mark: z.int().min(1).max(0xffff_ffff) }),
]);
export type ServiceId = z.infer<typeof serviceId>;

export const persistence = z.object({
  /** A client comes to the same server for so long after its last connection, s. [-p] */
  timeoutS: z
    .int()
    .min(1)
    .max(31 * 24 * 3600),
  /** Clients with this part of the address in common are one. [-M] */
  netmask: z.ipv4(),
});
export type Persistence = z.infer<typeof persistence>;

export const virtualService = z.object({
  id: serviceId,
  scheduler: schedulerName,
  flags: z.array(schedulerFlag).max(2),
  persistence: persistence.optional(),
  /** In the order they were added; schedulers go by it. */
  servers: z.array(realServer).max(4_096),
  /** Takes the place of all of them while the quorum is down. [keepalived.conf(5): sorry_server] */
  sorryServer: realServer.optional(),
  health: serviceHealth.optional(),
});
export type VirtualService = z.infer<typeof virtualService>;
