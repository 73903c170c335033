// The Addresses port by ip, nft and ss, in the node's network namespace. An address of ours is known by its
// label, DEVICE:ssi, which the guard knows too; what is quiet has a table `ssi_addr_...` of its own in nft.
// [ip-address(8): label; nft(8); ss(8): -K]
import { networkInterfaces } from 'node:os';
import { fail, ok, type Reply } from '@ssi/contracts';
import {
  announceAddress,
  closeFd,
  type Link,
  nudgeTcp,
  pidfdGetfd,
  pidfdOpen,
  whoHasAddress,
} from '@ssi/linux';
import { type Clock, sleep } from '@ssi/ports';
import type { Addresses } from '../ports.ts';
import { readDescriptors } from './descriptors.ts';
import { connectedTcp, tcpSockets, tcpState } from './proc-tables.ts';
import { runProgram } from './run-program.ts';

const label = ':ssi';
/** Long enough for three questions. [RFC 5227: PROBE_NUM] */
const probeMs = 300;
/** Neighbours that missed the first announcement hear the second. [RFC 5227: ANNOUNCE_NUM] */
const announceAgainMs = 200;
/** Longest wait for connections that have begun or are about to end. */
const settleMs = 300;
const lookMs = 5;

export function linuxAddresses(options: {
  readonly ipPath: string;
  readonly nftPath: string;
  readonly clock: Clock;
}): Addresses {
  const { clock } = options;
  const list = (): string[] =>
    Object.entries(networkInterfaces()).flatMap(([name, entries]) =>
      name.endsWith(label) ? (entries ?? []).map((entry) => entry.address) : [],
    );
  const run = async (path: string, args: string[]): Promise<Reply<undefined, 'EIO'>> => {
    const result = await runProgram(path, args, { timeoutMs: 5_000 });
    return result.code === 0 ? ok() : fail('EIO', `${args.join(' ')}: ${result.err.trim()}`);
  };
  const nft = (text: string) => run(options.nftPath, [text]);

  const here = async (address: string): Promise<Reply<Link, 'EADDRNOTAVAIL' | 'EIO'>> => {
    const link = linkOf(address);
    if (!link) return fail('EADDRNOTAVAIL', `${address} is in no network of this node`);
    if (list().includes(address)) return ok(link);
    const words = `addr add ${address}/32 dev ${link.name} label ${link.name}${label}`;
    const added = await run(options.ipPath, words.split(' '));
    return added.ok ? ok(link) : added;
  };
  const announce = (link: Link, address: string): void => {
    announceAddress(link, address);
    clock.after(announceAgainMs, () => {
      if (list().includes(address)) announceAddress(link, address);
    });
  };
  const silence = (address: string) => nft(`${cleared(address)} ${silent(address)}`);
  const open: Addresses['open'] = async (address, pids) => {
    const link = await here(address);
    if (!link.ok) return fail('EIO', link.detail);
    const heard = await nft(cleared(address));
    if (!heard.ok) return heard;
    announce(link.value, address);
    for (const pid of pids) nudge(pid, address);
    return ok();
  };

  return {
    list,
    reaches: (address) => linkOf(address) !== undefined,
    claim: async (address) => {
      const link = linkOf(address);
      if (!link) return fail('EADDRNOTAVAIL', `${address} is in no network of this node`);
      if (isLocal(address)) return fail('EADDRINUSE', `${address} is this node's already`);
      const owner = await whoHasAddress(link, address, probeMs);
      if (owner) return fail('EADDRINUSE', `${address} is in use by ${owner}`);
      return open(address, []);
    },
    quiet: async (address) => {
      const closed = await nft(`${cleared(address)} ${closedToNew(address)}`);
      if (!closed.ok) return closed;
      const untilMs = clock.nowMs() + settleMs;
      while (unsettled(address) && clock.nowMs() < untilMs) await sleep(clock, lookMs);
      return silence(address);
    },
    hold: async (address) => {
      const silenced = await silence(address);
      const added = silenced.ok ? await here(address) : silenced;
      return added.ok ? ok() : added;
    },
    open,
    drop: async (address) => {
      if (!list().includes(address)) return nft(cleared(address));
      const silenced = await silence(address);
      if (!silenced.ok) return silenced;
      // What is left of its connections says no word more: the one that moved has them.
      await runProgram('ss', ['-KHtn', 'state', 'connected', 'src', address], { timeoutMs: 5_000 });
      const link = linkOf(address);
      const gone = link
        ? await run(options.ipPath, ['addr', 'del', `${address}/32`, 'dev', link.name])
        : ok();
      return gone.ok || !list().includes(address) ? nft(cleared(address)) : gone;
    },
  };
}

const tableOf = (address: string): string => `ssi_addr_${address.replaceAll('.', '_')}`;

/** Also where there is no such table: it is made first. */
const cleared = (address: string): string =>
  ['inet', 'arp']
    .map((family) => `${family} ${tableOf(address)}`)
    .map((table) => `add table ${table}; delete table ${table};`)
    .join(' ');

const chain = (family: string, address: string, hook: 'input' | 'output', rule: string): string => {
  const table = `${family} ${tableOf(address)}`;
  const priority = family === 'arp' ? 0 : -200;
  return (
    `add table ${table}; ` +
    `add chain ${table} ${hook} { type filter hook ${hook} priority ${priority}; }; ` +
    `add rule ${table} ${hook} ${rule};`
  );
};
const closedToNew = (address: string): string =>
  chain('inet', address, 'input', `ip daddr ${address} tcp flags & (syn | ack) == syn drop`);
/** No packet either way, and no word of ARP: two nodes may have the address, none speaks for it. */
const silent = (address: string): string =>
  [
    chain('inet', address, 'input', `ip daddr ${address} drop`),
    chain('inet', address, 'output', `ip saddr ${address} drop`),
    chain('arp', address, 'output', `arp saddr ip ${address} drop`),
  ].join(' ');

/** Connections of the address that nobody accepted yet, or whose last bytes are under way. */
const unsettled = (address: string): boolean =>
  tcpSockets('self').some((socket) => {
    if (socket.state === tcpState.listening)
      return socket.waiting > 0 && [address, '0.0.0.0', anyIpv6].includes(socket.address);
    const passing: readonly number[] = [
      ...[tcpState.synReceived, tcpState.finWait1, tcpState.lastAck, tcpState.closing],
    ];
    return socket.address === address && socket.inode === 0 && passing.includes(socket.state);
  });
const anyIpv6 = '[0000:0000:0000:0000:0000:0000:0000:0000]';

/** Its connections ask their peers where they stand: nothing was heard while the address was quiet. */
function nudge(pid: number, address: string): void {
  const inodes = new Set(
    connectedTcp(pid).flatMap((socket) => (socket.address === address ? [socket.inode] : [])),
  );
  if (inodes.size === 0) return;
  const pidfd = pidfdOpen(pid);
  for (const { fd, link } of pidfd < 0 ? [] : readDescriptors(pid)) {
    if (!inodes.delete(Number(/^socket:\[(\d+)\]$/.exec(link)?.[1]))) continue;
    const copy = pidfdGetfd(pidfd, fd);
    if (copy < 0) continue;
    nudgeTcp(copy);
    closeFd(copy);
  }
  if (pidfd >= 0) closeFd(pidfd);
}

const isLocal = (address: string): boolean =>
  Object.values(networkInterfaces()).some((all) => all?.some((e) => e.address === address));

/** The interface in whose network the address is. */
function linkOf(address: string): Link | undefined {
  for (const [name, entries] of Object.entries(networkInterfaces()))
    for (const { family, internal, cidr, mac } of entries ?? []) {
      const [base = '', bits = '32'] = (cidr ?? '').split('/');
      if (family !== 'IPv4' || internal || name.includes(':') || bits === '32') continue;
      const mask = Number(bits) === 0 ? 0 : (-1 << (32 - Number(bits))) >>> 0;
      if (numberOf(base) >>> 0 && (numberOf(base) & mask) === (numberOf(address) & mask))
        return { name, mac };
    }
  return undefined;
}
const numberOf = (address: string): number =>
  address.split('.').reduce((all, byte) => ((all << 8) | Number(byte)) >>> 0, 0);
