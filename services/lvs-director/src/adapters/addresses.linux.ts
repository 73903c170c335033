// The cluster's addresses in the network namespace of this process. Every node has them on loopback, where ARP does
// not speak of them; who holds them has them at the interface too, labelled DEVICE:lvs, which the guard takes away
// when the node's lease ends. [ip-address(8): label; kernel: ip-sysctl, arp_ignore, arp_announce]
import { readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { fail, ok, type Reply } from '@ssi/contracts';
import { announceAddress, type Link, whoHasAddress } from '@ssi/linux';
import type { Clock } from '@ssi/ports';
import type { Addresses } from '../ports.ts';
import { run } from './program.ts';

const label = ':lvs';
/** Long enough for three questions. [RFC 5227: PROBE_NUM] */
const probeMs = 300;
/** Neighbours that missed the first announcement hear a later one. [RFC 5227: ANNOUNCE_NUM] */
const announceAgainMs = [100, 300, 1_000];

/** Asked for an address that is at another interface a node is silent, and in its own questions it names its own. */
const quietArp = { arp_ignore: '1', arp_announce: '2' };

export function linuxAddresses(q: {
  /** `ip`, or how to run it elsewhere. */
  readonly ip: readonly string[];
  readonly clock: Clock;
}): Addresses {
  const ip = async (...args: string[]): Promise<Reply<undefined, 'EIO'>> => {
    const done = await run([...q.ip, ...args]);
    return done.code === 0 ? ok() : fail('EIO', `ip ${args.join(' ')}: ${done.err.trim()}`);
  };
  const shared = (): string[] => labelled((name) => name === `lo${label}`);
  const held = (): string[] => labelled((name) => name.endsWith(label) && name !== `lo${label}`);

  /** What was asked for last is what the kernel is to have. */
  let wanted: readonly string[] = [];
  const announce = (address: string): void => {
    const link = linkOf(address);
    if (link && wanted.includes(address) && held().includes(address))
      announceAddress(link, address);
  };

  return {
    held,
    async share(addresses) {
      try {
        for (const [name, value] of Object.entries(quietArp)) {
          const path = `/proc/sys/net/ipv4/conf/all/${name}`;
          if (readFileSync(path, 'latin1').trim() !== value) writeFileSync(path, value);
        }
      } catch (error) {
        return fail('EIO', `ARP cannot be kept quiet: ${String(error)}`);
      }
      for (const address of shared())
        if (!addresses.includes(address)) {
          const gone = await ip('addr', 'del', `${address}/32`, 'dev', 'lo');
          if (!gone.ok) return gone;
        }
      for (const address of addresses)
        if (!shared().includes(address)) {
          const words = `addr add ${address}/32 dev lo label lo${label}`;
          const added = await ip(...words.split(' '));
          if (!added.ok) return added;
        }
      return ok();
    },
    async hold(addresses) {
      wanted = addresses;
      for (const address of held())
        if (!addresses.includes(address)) {
          const gone = await drop(address);
          if (!gone.ok) return gone;
        }
      for (const address of addresses) {
        const link = linkOf(address);
        if (!link) return fail('EADDRNOTAVAIL', `${address} is in no network of this node`);
        if (!held().includes(address)) {
          const words = `addr add ${address}/32 dev ${link.name} label ${link.name}${label}`;
          const added = await ip(...words.split(' '));
          if (!added.ok) return added;
        }
        announce(address);
        for (const ms of announceAgainMs) q.clock.after(ms, () => announce(address));
      }
      return ok();
    },
    async release() {
      wanted = [];
      for (const address of held()) {
        const gone = await drop(address);
        if (!gone.ok) return gone;
      }
      return ok();
    },
    async isFree(address) {
      const link = linkOf(address);
      if (!link) return fail('EADDRNOTAVAIL', `${address} is in no network of the nodes`);
      if (labelled((name) => !name.endsWith(label)).includes(address))
        return fail('EADDRINUSE', `${address} is a node's own`);
      const owner = await whoHasAddress(link, address, probeMs);
      return owner ? fail('EADDRINUSE', `${address} is in use by ${owner}`) : ok();
    },
  };

  async function drop(address: string): Promise<Reply<undefined, 'EIO'>> {
    const link = linkOf(address);
    const gone = link ? await ip('addr', 'del', `${address}/32`, 'dev', link.name) : ok();
    // The guard may have been first.
    return gone.ok || !held().includes(address) ? ok() : gone;
  }
}

const labelled = (wanted: (name: string) => boolean): string[] =>
  Object.entries(networkInterfaces()).flatMap(([name, entries]) =>
    wanted(name) ? (entries ?? []).map((e) => e.address) : [],
  );

/** The interface in whose network the address is. */
export function linkOf(address: string): Link | undefined {
  for (const [name, entries] of Object.entries(networkInterfaces()))
    for (const { family, internal, cidr, mac } of entries ?? []) {
      const [base = '', bits = '32'] = (cidr ?? '').split('/');
      if (family !== 'IPv4' || internal || name.includes(':') || bits === '32') continue;
      const mask = Number(bits) === 0 ? 0 : (-1 << (32 - Number(bits))) >>> 0;
      if ((numberOf(base) & mask) === (numberOf(address) & mask)) return { name, mac };
    }
  return undefined;
}
const numberOf = (address: string): number =>
  address.split('.').reduce((all, byte) => ((all << 8) | Number(byte)) >>> 0, 0);
