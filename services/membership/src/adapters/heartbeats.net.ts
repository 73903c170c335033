// The heartbeat channel on the network: every message by UDP, by TCP and by NATS at the same time, to
// every address of the peer; the first copy counts. Nothing is kept for later: what can't go now is
// dropped, the next heartbeat comes.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { NatsConnection } from '@nats-io/transport-node';
import { type Endpoint, parseRequest, requestSubject, serverSubject } from '@ssi/contracts';
import type { Clock, Log, Random } from '@ssi/ports';
import { z } from 'zod';
import { type HeartbeatMessage, heartbeatMessage } from '../messages.ts';
import type { HeartbeatPeer, Heartbeats } from '../ports.ts';
import { FirstCopy } from './first-copy.ts';
import { hmacSeal, noSeal } from './seal.ts';

const packet = z.tuple([z.int(), z.string(), z.int(), heartbeatMessage]);
/** The beginning of a packet behind its seal: sender, channel, number. */
const packetHead = /^(?:[0-9a-f]{64})?\[(\d+),"([0-9a-f]+)",(\d+),/;
const reconnectMs = 250;
/** Bytes that may wait on a TCP connection: about 50 messages. */
const waitingMaxBytes = 16_384;
const lineMaxBytes = 65_536;

export async function openHeartbeats(q: {
  cluster: string;
  num: number;
  nats: NatsConnection;
  clock: Clock;
  random: Random;
  log: Log;
  /**
   * Keeps the ports for this life of the node: the view tells them to the others once, so a process that takes
   * over listens on the same ones. Absent: any free ones.
   */
  portsFile?: string;
  /** 32 bytes, hex: what every heartbeat is proven with, on every way. Absent: they prove nothing. */
  key?: string | undefined;
  /** Boot id of a life that is not to be heard any more, whatever it says. */
  isRevoked?: (bootId: string) => boolean;
}): Promise<Heartbeats> {
  const { cluster, num, nats, clock, log } = q;
  const channel = q.random.hex(8);
  const self: Endpoint = { node: num, service: 'clms' };
  const seal = q.key === undefined ? noSeal : hmacSeal(q.key);
  const copies = new FirstCopy();
  let handler: (message: HeartbeatMessage) => void = () => {};
  let peers = new Map<number, HeartbeatPeer>();
  let seq = 0;
  let closed = false;
  let busUp = true;

  /** `claimed`: the sender, where the bus vouches for it. */
  function receive(bytes: Uint8Array | string, claimed?: number): void {
    const sealed = typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString();
    // Two of three are copies: not opened. Only what was opened once makes another one a copy.
    const [, node, sender = '', nth] = packetHead.exec(sealed) ?? [];
    if (copies.has(Number(node), sender, Number(nth))) return;
    let decoded: unknown;
    try {
      decoded = JSON.parse(seal.open(sealed) ?? '');
    } catch {
      return;
    }
    const parsed = packet.safeParse(decoded);
    if (!parsed.success) return;
    const [from, fromChannel, number, message] = parsed.data;
    // Its own, back from the bus. Another machine's with this number is heard: that is how it learns.
    if (message.from.num !== from || fromChannel === channel) return;
    if (claimed !== undefined && claimed !== from) return;
    if (q.isRevoked?.(message.from.incarnation.bootId)) return;
    if (copies.take(from, fromChannel, number)) handler(message);
  }

  const udp = createSocket({ type: 'udp4', reuseAddr: false });
  udp.on('message', (bytes) => receive(bytes));
  udp.on('error', (error) => log.warn('heartbeats: udp', { error: error.message }));
  const former = readPorts(q.portsFile);
  await bindFirst([former?.udp ?? 0, 0], (port) => {
    udp.bind(port);
    return once(udp, 'listening');
  });

  const accepted = new Set<Socket>();
  const server = createServer((socket) => {
    accepted.add(socket);
    socket.on('close', () => accepted.delete(socket));
    socket.on('error', () => {});
    readLines(socket, receive);
  });
  await bindFirst([former?.tcp ?? 0, 0], (port) => {
    server.listen(port);
    return once(server, 'listening');
  });
  const listening = server.address();
  const ports = {
    udp: udp.address().port,
    tcp: listening && typeof listening === 'object' ? listening.port : 0,
  };
  if (q.portsFile) writePorts(q.portsFile, ports);

  const subject = serverSubject({ cluster, contract: 'hb', to: num });
  const subscription = nats.subscribe(subject, {
    callback: (error, message) => {
      if (!error) receive(message.data, parseRequest(message.subject)?.from.node);
    },
  });
  // The client keeps what is published while it is away and sends it all later: not these.
  void (async () => {
    for await (const s of nats.status()) {
      if (s.type === 'disconnect') busUp = false;
      else if (s.type === 'reconnect') busUp = true;
    }
  })();

  const lines = new TcpLines(clock);

  /** With this turn, not at the end of the client's batch; each flush is an answer of the broker: one for all peers. */
  let flushing = false;
  function flushSoon(): void {
    if (flushing) return;
    flushing = true;
    queueMicrotask(() => {
      flushing = false;
      nats.flush().catch(() => {});
    });
  }

  return {
    ports,
    onMessage(h) {
      handler = h;
    },
    setPeers(list) {
      peers = new Map(list.map((p) => [p.num, p]));
      lines.keep(list.flatMap((p) => p.addresses.map((host) => `${host}:${p.ports.tcp}`)));
    },
    send(to, message) {
      if (closed) return;
      const text = seal.close(JSON.stringify([num, channel, ++seq, message]));
      const peer = peers.get(to);
      for (const host of peer?.addresses ?? []) {
        if (peer && peer.ports.udp > 0) udp.send(text, peer.ports.udp, host, () => {});
        if (peer && peer.ports.tcp > 0) lines.send(host, peer.ports.tcp, text);
      }
      if (!busUp || nats.isClosed()) return;
      const subjectTo = requestSubject({
        cluster,
        contract: 'hb',
        version: 1,
        to,
        op: 'beat',
        from: self,
      });
      nats.publish(subjectTo, text);
      flushSoon();
    },
    async close() {
      closed = true;
      subscription.unsubscribe();
      lines.keep([]);
      for (const s of accepted) s.destroy();
      server.close();
      udp.close();
    },
  };
}

/** The last one has to do. */
async function bindFirst(
  ports: readonly number[],
  bind: (port: number) => Promise<unknown>,
): Promise<void> {
  for (const [i, port] of ports.entries()) {
    try {
      await bind(port);
      return;
    } catch (error) {
      if (i === ports.length - 1) throw error;
    }
  }
}

const savedPorts = z.object({ udp: z.int(), tcp: z.int() });

function readPorts(path: string | undefined): z.infer<typeof savedPorts> | undefined {
  if (path === undefined) return undefined;
  try {
    return savedPorts.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data;
  } catch {
    return undefined; // The first process of this life.
  }
}

function writePorts(path: string, ports: z.infer<typeof savedPorts>): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.tmp`, JSON.stringify(ports));
  renameSync(`${path}.tmp`, path);
}

/** Connections to peers, one for each address, made when there is something to say. */
class TcpLines {
  private readonly sockets = new Map<string, { socket: Socket; ready: boolean }>();
  private readonly waiting = new Set<string>();
  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Drops the connections that are not to these addresses. */
  keep(addresses: readonly string[]): void {
    for (const [key, { socket }] of this.sockets) if (!addresses.includes(key)) socket.destroy();
  }

  send(host: string, port: number, text: string): void {
    const key = `${host}:${port}`;
    const open = this.sockets.get(key) ?? this.open(key, host, port);
    if (!open?.ready || open.socket.writableLength > waitingMaxBytes) return;
    open.socket.write(`${text}\n`);
  }

  private open(key: string, host: string, port: number): undefined {
    if (this.waiting.has(key)) return;
    const socket = connect({ host, port, noDelay: true });
    const entry = { socket, ready: false };
    this.sockets.set(key, entry);
    socket.on('connect', () => {
      entry.ready = true;
    });
    socket.on('error', () => {});
    socket.resume();
    socket.on('close', () => {
      this.sockets.delete(key);
      this.waiting.add(key);
      this.clock.after(reconnectMs, () => this.waiting.delete(key));
    });
    return undefined;
  }
}

function readLines(socket: Socket, onLine: (line: string) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) onLine(line);
    if (rest.length > lineMaxBytes) socket.destroy();
  });
}
