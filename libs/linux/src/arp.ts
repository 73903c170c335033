// ARP as a program speaks it: asks whether somebody has an address, and tells the link that we have it now.
// [RFC 826; RFC 5227: probe and announcement; packet(7)]
import koffi from 'koffi';
import { closeFd } from './syscalls.ts';

const library = koffi.load(null);
const socketRaw = library.func('int socket(int domain, int type, int protocol)');
const sendtoRaw = library.func(
  'long sendto(int fd, const uint8_t *data, size_t n, int flags, const uint8_t *to, uint toBytes)',
);
const recvRaw = library.func('long recv(int fd, _Out_ uint8_t *data, size_t n, int flags)');
const bindRaw = library.func('int bind(int fd, const uint8_t *address, uint bytes)');
const nameToIndex = library.func('uint if_nametoindex(const char *name)');

/** An interface of this network namespace: its name and its Ethernet address as `aa:bb:...`. */
export interface Link {
  readonly name: string;
  readonly mac: string;
}

const afPacket = 17;
/** SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC */
const socketType = 0o2004002;
const etherArp = 0x0806;
const networkOrder = 0x0608;
const [request, reply] = [1, 2];
const broadcast = [255, 255, 255, 255, 255, 255];
const nobody = [0, 0, 0, 0, 0, 0];

const macBytes = (mac: string): number[] => mac.split(':').map((byte) => Number.parseInt(byte, 16));
const ipBytes = (address: string): number[] => address.split('.').map(Number);

/** sockaddr_ll. [packet(7)] */
function linkAddress(index: number): Uint8Array {
  const bytes = Buffer.alloc(20);
  bytes.writeUInt16LE(afPacket, 0);
  bytes.writeUInt16BE(etherArp, 2);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt8(6, 11);
  bytes.set(broadcast, 12);
  return bytes;
}

const packet = (q: { op: number; from: number[]; fromIp: number[]; to: number[]; ip: number[] }) =>
  new Uint8Array([...[0, 1, 8, 0, 6, 4, 0, q.op], ...q.from, ...q.fromIp, ...q.to, ...q.ip]);

function open(link: Link): { fd: number; to: Uint8Array } | undefined {
  const index = nameToIndex(link.name) as number;
  const fd = index > 0 ? (socketRaw(afPacket, socketType, networkOrder) as number) : -1;
  if (fd < 0) return undefined;
  const to = linkAddress(index);
  if (bindRaw(fd, to, to.length) === 0) return { fd, to };
  closeFd(fd);
  return undefined;
}

/** Gratuitous, as request and as reply: neighbours heed one or the other. False: it could not be sent. */
export function announceAddress(link: Link, address: string): boolean {
  const opened = open(link);
  if (!opened) return false;
  const { fd, to } = opened;
  const ip = ipBytes(address);
  const from = macBytes(link.mac);
  const sent = [request, reply].every((op) => {
    const data = packet({ op, from, fromIp: ip, to: op === request ? nobody : broadcast, ip });
    return sendtoRaw(fd, data, data.length, 0, to, to.length) === data.length;
  });
  closeFd(fd);
  return sent;
}

const lookMs = 10;
const repeatMs = 100;
const received = new Uint8Array(64);

/** Who answers for the address on that link, as `aa:bb:...`; undefined: nobody within `waitMs`. */
export async function whoHasAddress(
  link: Link,
  address: string,
  waitMs: number,
): Promise<string | undefined> {
  const opened = open(link);
  if (!opened) return undefined;
  const { fd, to } = opened;
  const ip = ipBytes(address);
  const from = macBytes(link.mac);
  const ask = packet({ op: request, from, fromIp: [0, 0, 0, 0], to: nobody, ip });
  let found: string | undefined;
  for (let at = 0; at < waitMs && !found; at += lookMs) {
    if (at % repeatMs === 0) sendtoRaw(fd, ask, ask.length, 0, to, to.length);
    await new Promise((done) => setTimeout(done, lookMs));
    while (!found && (recvRaw(fd, received, received.length, 0) as number) >= 28) {
      const sender = [...received.subarray(8, 14)];
      const isTheirs = received.subarray(14, 18).every((byte, i) => byte === ip[i]);
      if (isTheirs && sender.some((byte, i) => byte !== from[i]))
        found = sender.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
    }
  }
  closeFd(fd);
  return found;
}
