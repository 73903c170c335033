// Connections of TCP that hinder a move, looked at in this process: all that it has, and one to the bus.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { busAddresses } from '../src/adapters/bus-addresses.ts';
import { readDescriptors } from '../src/adapters/descriptors.ts';
import { inetReasons } from '../src/adapters/inet-reasons.ts';

let bus: Server;
let other: Server;
const clients: Socket[] = [];
const listening = async (): Promise<Server> => {
  const server = createServer((socket) => clients.push(socket)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
};
const portOf = (server: Server): number => (server.address() as AddressInfo).port;
const addressOf = (server: Server): string => `127.0.0.1:${portOf(server)}`;

beforeEach(async () => {
  bus = await listening();
  other = await listening();
});
afterEach(() => {
  for (const client of clients.splice(0)) client.destroy();
  bus.close();
  other.close();
});

/** Descriptor of a connection; its other end counts as somebody else's. */
async function connected(to: Server, localAddress = '127.0.0.1'): Promise<number> {
  const socket = connect({ port: portOf(to), host: '127.0.0.1', localAddress });
  clients.push(socket);
  await once(socket, 'connect');
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}
const found = (fds: readonly number[], addr?: string) =>
  inetReasons(
    [process.pid],
    new Map([[process.pid, readDescriptors(process.pid).filter(({ fd }) => fds.includes(fd))]]),
    { addr, bus: [addressOf(bus)] },
  );

describe('vproc: TCP that is connected', () => {
  test('to the bus: it is no reason, and does not go along', async () => {
    const on = found([await connected(bus)]);
    expect(on).toEqual({ reasons: [], tcpEstablished: false });
  });

  test('to another: ETCPADDR, on the bus or not', async () => {
    const fds = [await connected(bus), await connected(other)];
    const both = found(fds);
    expect(both.reasons).toMatchObject([{ code: 'ETCPADDR', pid: process.pid }]);
    expect(both.reasons[0]?.detail).toContain(addressOf(other));
    expect(found(fds.slice(1)).reasons).toHaveLength(1);
  });

  test('to the bus, beside what moves with a floating address: ETCPADDR', async () => {
    const fds = [await connected(bus), await connected(other, '127.0.0.2')];
    const both = found(fds, '127.0.0.2');
    expect(both).toMatchObject({ tcpEstablished: true });
    expect(both.reasons).toHaveLength(1);
    expect(both.reasons[0]?.detail).toContain(addressOf(bus));
  });

  test('the bus by its URLs: each address of each name, the default port, no word of what is no URL', async () => {
    const urls =
      'nats://me:secret@127.0.0.1:4333, tls://localhost,nats://nowhere.invalid:1,nonsense';
    expect(await busAddresses(urls)).toEqual(['127.0.0.1:4333', '127.0.0.1:4222']);
    expect(await busAddresses()).toEqual([]);
  });
});
