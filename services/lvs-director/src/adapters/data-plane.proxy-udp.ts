// UDP for the user-space data plane: for each client's address and port a socket of its own to its server, until
// nothing came for a while.
import { createSocket, type Socket } from 'node:dgram';
import { ok, type Reply } from '@ssi/contracts';
import type { Clock, Timer } from '@ssi/ports';
import type { HeldFlow } from '../flows.ts';
import { addressNumber } from '../schedulers/maglev.ts';
import { type Carried, countedOf, faultOf } from './listening.ts';

export interface Relay {
  /** Also ends what goes on. */
  readonly close: () => void;
}

/** IPVS's own for UDP, ms. [ip_vs_proto_udp.c] */
const idleMs = 300_000;
/** Clients of one service at once; beyond it a datagram of another is dropped. */
const relayedMax = 16_384;

interface Client {
  readonly flow: HeldFlow;
  readonly upstream: Socket;
  isConnected: boolean;
  lastMs: number;
}

export async function relayDatagrams(
  id: { readonly address: string; readonly port: number },
  { flows, traffic }: Carried,
  clock: Clock,
): Promise<Reply<Relay, 'EBUSY' | 'EIO'>> {
  const socket = createSocket('udp4');
  const clients = new Map<string, Client>();
  let sweep: Timer | undefined;
  const destination = addressNumber(id.address);

  function forget(key: string, { flow, upstream }: Client): void {
    clients.delete(key);
    flow.end();
    upstream.close();
  }

  function sweepLater(): void {
    sweep = clock.after(idleMs / 10, () => {
      const before = clock.nowMs() - idleMs;
      for (const [key, client] of clients) if (client.lastMs < before) forget(key, client);
      if (clients.size > 0) sweepLater();
      else sweep = undefined;
    });
  }

  function begin(key: string, from: { address: string; port: number }): Client | undefined {
    if (clients.size >= relayedMax) return undefined;
    const flow = flows.begin({
      ...{ client: addressNumber(from.address), clientPort: from.port, destination },
      atMs: clock.nowMs(),
    });
    if (!flow) return undefined;
    const counted = countedOf(traffic, flow);
    const upstream = createSocket('udp4');
    const client: Client = { flow, upstream, isConnected: false, lastMs: clock.nowMs() };
    counted.connections++;
    upstream.on('message', (bytes) => {
      counted.outPackets++;
      counted.outBytes += bytes.length;
      client.lastMs = clock.nowMs();
      socket.send(bytes, from.port, from.address);
    });
    // Refused by the server: dropped, as on the way.
    upstream.on('error', () => {});
    upstream.once('connect', () => {
      client.isConnected = true;
    });
    upstream.connect(flow.server.port || id.port, flow.server.address);
    clients.set(key, client);
    if (!sweep) sweepLater();
    return client;
  }

  socket.on('message', (bytes, from) => {
    const key = `${from.address}:${from.port}`;
    const client = clients.get(key) ?? begin(key, from);
    if (!client) return;
    const counted = countedOf(traffic, client.flow);
    counted.inPackets++;
    counted.inBytes += bytes.length;
    client.lastMs = clock.nowMs();
    if (client.isConnected) client.upstream.send(bytes);
    else client.upstream.once('connect', () => client.upstream.send(bytes));
  });

  return new Promise((done) => {
    socket.once('error', (error) => done(faultOf(error, `${id.address}:${id.port}`)));
    socket.bind(id.port, id.address, () => {
      socket.on('error', () => {});
      const close = (): void => {
        sweep?.cancel();
        for (const [key, client] of clients) forget(key, client);
        socket.close();
      };
      done(ok({ close }));
    });
  });
}
