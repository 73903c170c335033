// The network of a cluster on one machine: a bridge of its own, each node's namespace on it by a veth
// pair. Addresses are 198.18.<x>.0/24 of the range that RFC 2544 keeps for test networks: .254 is the
// host's (NATS and Redis listen there), .<num> a node's.
import { createHash } from 'node:crypto';
import { fail, ok, type Reply } from '@ssi/contracts';
import { command, tool } from './host.ts';

export interface ClusterNetwork {
  /** Interface name, 15 characters at most. */
  readonly bridge: string;
  /** First three octets. */
  readonly prefix: string;
}

export const hostAddress = (n: ClusterNetwork): string => `${n.prefix}.254`;
export const nodeAddress = (n: ClusterNetwork, num: number): string => `${n.prefix}.${num}`;

const ip = (...args: string[]) => command(tool('ip'), args);

/**
 * A bridge without an Ethernet address of its own takes the lowest of its ports. When that node dies the host has
 * another one, and what the others send to the bus is dropped until they ask again, half a minute later.
 * [ip-link(8); kernel: br_stp_recalculate_bridge_id] 02: locally administered.
 */
const ethernetOfBridge = (digest: Buffer): string => ethernet(...digest.subarray(4, 9));
const ethernet = (...bytes: readonly number[]): string =>
  [0x02, ...bytes].map((n) => n.toString(16).padStart(2, '0')).join(':');

export async function createNetwork(
  cluster: string,
): Promise<Reply<ClusterNetwork, 'EIO' | 'ENOENT' | 'EADDRINUSE'>> {
  const digest = createHash('sha256').update(cluster).digest();
  const addresses = await ip('-j', 'addr');
  if (!addresses.ok) return addresses;
  for (let i = 0; i < 256; i++) {
    const prefix = `198.18.${((digest[0] ?? 0) + i) % 256}`;
    if (addresses.value.includes(`"${prefix}.`)) continue;
    const bridge = `ssi${digest.toString('hex').slice(0, 8)}`;
    const network = { bridge, prefix };
    for (const args of [
      ['link', 'add', bridge, 'address', ethernetOfBridge(digest), 'type', 'bridge'],
      ['addr', 'add', `${prefix}.254/24`, 'dev', bridge],
      ['link', 'set', bridge, 'up'],
    ]) {
      const done = await ip(...args);
      if (!done.ok) return done;
    }
    await besideDocker('-I', bridge);
    return ok(network);
  }
  return fail('EADDRINUSE', 'every 198.18.x.0/24 is in use on this machine');
}

/**
 * A node that comes back has the Ethernet address that the others know: else what they send it goes to the former
 * one for as long as they trust their neighbour tables, up to a minute. [arp(7): base_reachable_time]
 */
const ethernetOfNode = (network: ClusterNetwork, num: number): string =>
  ethernet(0, ...nodeAddress(network, num).split('.').map(Number));

const vethName = (network: ClusterNetwork, num: number): string =>
  `v${network.bridge.slice(3, 10)}n${num}`;

/** Gives the namespace of process `pid` its interface eth0 on the bridge. */
export async function connectNode(
  network: ClusterNetwork,
  num: number,
  pid: number,
): Promise<Reply<string, 'EIO' | 'ENOENT'>> {
  const veth = vethName(network, num);
  const inside = (...args: string[]) =>
    command('nsenter', ['-t', String(pid), '-n', tool('ip'), ...args]);
  const address = ['address', ethernetOfNode(network, num)];
  const peer = ['peer', 'name', 'eth0', ...address, 'netns', String(pid)];
  const steps = [
    () => ip('link', 'add', veth, 'type', 'veth', ...peer),
    () => ip('link', 'set', veth, 'master', network.bridge, 'up'),
    () => inside('addr', 'add', `${nodeAddress(network, num)}/24`, 'dev', 'eth0'),
    () => inside('link', 'set', 'eth0', 'up'),
    () => inside('route', 'add', 'default', 'via', hostAddress(network)),
  ];
  for (const step of steps) {
    const done = await step();
    if (!done.ok) return done;
  }
  return ok(nodeAddress(network, num));
}

export const disconnectNode = (network: ClusterNetwork, num: number) =>
  ip('link', 'del', vethName(network, num));

export async function removeNetwork({ bridge }: ClusterNetwork) {
  await besideDocker('-D', bridge);
  return ip('link', 'del', bridge);
}

/**
 * Docker has the kernel pass what a bridge carries through iptables too, and drops what it does not know:
 * its chain for others' rules lets our nodes reach each other. Without Docker there is no such chain, and
 * the command fails as it should. [docker: packet filtering and firewalls, DOCKER-USER]
 */
const besideDocker = (verb: '-I' | '-D', bridge: string) =>
  command('iptables', ['-w', verb, 'DOCKER-USER', '-i', bridge, '-o', bridge, '-j', 'ACCEPT']);
