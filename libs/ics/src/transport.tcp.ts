// The direct transport: each service process listens, others connect when they first have something to
// say, to where the node map puts the service. Replies come back on the connection the call came on.
// The first frames are the hello (hello.ts), which says whose connection it is. A client of the same machine
// has a socket of the file system for it, where there is one: who may open that is trusted like the node's root.
import { chmodSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import type { ServiceEndpoint } from '@ssi/contracts';
import type { Clock } from '@ssi/ports';
import { dial, type Encryption, welcome } from './encryption.ts';
import { clientHello, type Hello, type Identity, type Peer, serverHello } from './hello.ts';
import { Link } from './link.ts';
import type { Claim, Outgoing, Receiver, Transport, Via } from './transport.ts';

const backoffFirstMs = 50;
const backoffMaxMs = 2_000;
const connectMs = 2_000;
/** Frames that wait for a connection that is being made. */
const waitingMax = 1_024;
/** A connection whose hello takes longer is closed; as many more than these are not let in at a time. */
const helloMs = 5_000;
const strangersMax = 256;

export interface TcpTransportOptions {
  readonly cluster: string;
  readonly clock: Clock;
  /** The node's certificate; absent: whoever names the cluster is let in. */
  readonly identity?: Identity | undefined;
  /** Absent: nothing is encrypted. */
  readonly encryption?: Encryption | undefined;
  /** Servers whose socket is in the file system here; for a client. */
  readonly local?: readonly LocalServer[] | undefined;
}

export interface LocalServer {
  readonly node: number;
  readonly service: string;
  readonly path: string;
}

type Address = { readonly host: string; readonly port: number } | { readonly path: string };

/** A transport that listens, and is told where the others do. */
export interface TcpTransport extends Transport {
  /** 0: free choice. Resolves to the port. */
  listen(port: number, host?: string): Promise<number>;
  /** A socket for people who are root here; what says to be of a node is refused there. */
  listenLocal(path: string): Promise<void>;
  /** Where each service listens; replaces what was known. */
  setMap(map: readonly ServiceEndpoint[]): void;
  /** Serial numbers of certificates that are worth nothing any more: their connections are closed. */
  setRevoked(serials: readonly string[]): void;
}

interface Route {
  readonly node: number;
  readonly contract: string;
  addresses: readonly Address[];
  bootId: string;
  /** Index of the address in use. */
  at: number;
  socket: Socket | undefined;
  link: Link | undefined;
  waiting: Outgoing[];
  backoffMs: number;
  notBeforeMs: number;
}

export function tcpTransport(options: TcpTransportOptions): TcpTransport {
  const { cluster, clock, identity, encryption } = options;
  const routes = new Map<string, Route>();
  const accepted = new Set<Socket>();
  /** By connection, those that are past their hello with a certificate. */
  const peers = new Map<Socket, Peer>();
  let revoked: ReadonlySet<string> = new Set();
  let strangers = 0;
  let receiver: Receiver | undefined;
  let server: Server | undefined;
  let localServer: Server | undefined;

  /** Whether the connection is through its hello; one that fails is closed, and counted. */
  const greet = (socket: Socket, link: Link, hello: Hello, frame: Uint8Array): Claim | boolean => {
    try {
      const { send, open, peer } = hello.take(frame);
      if (peer && revoked.has(peer.serial)) throw new Error('hello: revoked');
      if (send) link.send(send);
      if (!open) return false;
      if (!peer) return true;
      peers.set(socket, peer);
      socket.on('close', () => peers.delete(socket));
      return { node: peer.node };
    } catch {
      receiver?.forged?.();
      socket.destroy();
      return false;
    }
  };

  const accept = (socket: Socket, isLocal: boolean): void => {
    accepted.add(socket);
    socket.on('error', () => {});
    const hello = serverHello(cluster, isLocal ? undefined : identity);
    let through: Claim | boolean = false;
    strangers++;
    const known = (): void => {
      timer.cancel();
      strangers--;
    };
    const timer = clock.after(helloMs, () => socket.destroy());
    socket.on('close', () => {
      accepted.delete(socket);
      if (!through) known();
    });
    if (strangers > strangersMax) {
      socket.destroy();
      return;
    }
    const link = new Link(socket, (frame) => {
      if (through) receiver?.frame(frame, via, through === true ? undefined : through);
      else {
        through = greet(socket, link, hello, frame);
        if (through && isLocal) through = { node: 0 };
        if (through) known();
      }
    });
    const via: Via = { transport: 'tcp', send: (frame) => link.send(frame) };
  };

  const connect = (route: Route): void => {
    const address = route.addresses[route.at % route.addresses.length];
    if (!address) return;
    const socket =
      'path' in address
        ? createConnection({ ...address, timeout: connectMs }, () => reached())
        : dial({ ...address, node: route.node, timeout: connectMs }, encryption, () => reached());
    route.socket = socket;
    let open = false;
    const hello = clientHello(cluster, identity, route.node);
    let through: Claim | boolean = false;
    const link = new Link(socket, (frame) => {
      if (through) receiver?.frame(frame, noWay, through === true ? undefined : through);
      else if (identity) {
        through = greet(socket, link, hello, frame);
        if (through) opened();
      }
    });
    const opened = (): void => {
      open = true;
      socket.setTimeout(0);
      route.link = link;
      route.backoffMs = backoffFirstMs;
      for (const out of route.waiting.splice(0)) link.send(out.frame);
    };
    socket.on('timeout', () => socket.destroy());
    socket.on('error', () => {});
    const reached = (): void => {
      socket.setKeepAlive(true, 5_000);
      if (hello.first) link.send(hello.first);
      if (identity) return;
      through = true;
      opened();
    };
    socket.on('close', () => {
      if (route.socket !== socket) return;
      route.socket = undefined;
      route.link = undefined;
      const waiting = route.waiting.splice(0);
      route.at++;
      // Every address was tried without success: leave it alone for a while.
      if (!open && route.at % route.addresses.length === 0) {
        route.notBeforeMs = clock.nowMs() + route.backoffMs;
        route.backoffMs = Math.min(backoffMaxMs, 2 * route.backoffMs);
        clock.after(route.notBeforeMs - clock.nowMs(), () => receiver?.changed('tcp'));
        for (const out of waiting) receiver?.unreachable('tcp', out.tag);
      } else if (waiting.length > 0) {
        route.waiting = waiting;
        connect(route);
      }
      if (open) receiver?.broken('tcp', { node: route.node, contract: route.contract });
    });
  };

  const drop = (route: Route): void => {
    const socket = route.socket;
    const waiting = route.waiting.splice(0);
    route.socket = undefined;
    route.link = undefined;
    socket?.destroy();
    for (const out of waiting) queueMicrotask(() => receiver?.unreachable('tcp', out.tag));
    if (socket)
      queueMicrotask(() => receiver?.broken('tcp', { node: route.node, contract: route.contract }));
  };

  const routeTo = (node: number, contract: string, addresses: readonly Address[], bootId = '') => {
    const route = { node, contract, addresses, bootId, at: 0, socket: undefined, link: undefined };
    const rest = { waiting: [], backoffMs: backoffFirstMs, notBeforeMs: 0 };
    routes.set(`${node}/${contract}`, { ...route, ...rest });
  };
  for (const { node, service, path } of options.local ?? []) routeTo(node, service, [{ path }]);

  return {
    name: 'tcp',
    guessMs: 0.05,
    mayDuplicate: false,
    open: (r) => {
      receiver = r;
    },
    serve: () => {},
    ready: (node, contract) => {
      const route = routes.get(`${node}/${contract}`);
      if (!route || route.addresses.length === 0) return false;
      return route.socket !== undefined || route.notBeforeMs <= clock.nowMs();
    },
    absent: (node, contract) => !routes.get(`${node}/${contract}`)?.socket,
    send: (out) => {
      const route = routes.get(`${out.to}/${out.contract}`);
      const refuse = (): void => queueMicrotask(() => receiver?.unreachable('tcp', out.tag));
      if (!route || route.addresses.length === 0) {
        refuse();
        return;
      }
      if (route.link) {
        if (!route.link.send(out.frame)) refuse();
        return;
      }
      if (route.waiting.length >= waitingMax) {
        refuse();
        return;
      }
      route.waiting.push(out);
      if (!route.socket) connect(route);
    },
    backTo: () => undefined,
    listen: (port, host) =>
      new Promise((resolve, reject) => {
        server = createServer({ noDelay: true });
        welcome(server, encryption, (socket) => accept(socket, false));
        server.on('error', reject);
        server.listen(port, host, () => {
          const at = server?.address();
          resolve(typeof at === 'object' && at ? at.port : 0);
        });
      }),
    listenLocal: (path) =>
      new Promise((resolve, reject) => {
        rmSync(path, { force: true }); // of a former life
        localServer = createServer((socket) => accept(socket, true));
        localServer.on('error', reject);
        localServer.listen(path, () => {
          chmodSync(path, 0o600);
          resolve();
        });
      }),
    setMap: (map) => {
      const seen = new Set<string>();
      for (const e of map) {
        const key = `${e.node}/${e.service}`;
        if (e.tcp.length === 0) continue;
        seen.add(key);
        const route = routes.get(key);
        if (!route) routeTo(e.node, e.service, e.tcp, e.bootId);
        else if (route.bootId !== e.bootId || !sameAddresses(route.addresses, e.tcp)) {
          Object.assign(route, { addresses: e.tcp, bootId: e.bootId, at: 0, notBeforeMs: 0 });
          drop(route);
        }
      }
      for (const [key, route] of routes)
        if (!seen.has(key)) {
          routes.delete(key);
          drop(route);
        }
      queueMicrotask(() => receiver?.changed('tcp'));
    },
    setRevoked: (serials) => {
      revoked = new Set(serials);
      for (const [socket, { serial }] of peers) if (revoked.has(serial)) socket.destroy();
    },
    close: async () => {
      receiver = undefined;
      for (const route of routes.values()) {
        const socket = route.socket;
        route.socket = undefined;
        route.waiting = [];
        // What was sent just before (the last acknowledgements) still goes out.
        if (route.link) socket?.end(() => socket.destroy());
        else socket?.destroy();
      }
      const closed = [server, localServer].map(
        (closing) => closing && new Promise<void>((done) => closing.close(() => done())),
      );
      for (const socket of accepted) socket.destroy();
      await Promise.all(closed);
    },
  };
}

const text = (a: Address): string => ('path' in a ? a.path : `${a.host} ${a.port}`);
const sameAddresses = (a: readonly Address[], b: readonly Address[]): boolean =>
  a.map(text).join() === b.map(text).join();

const noWay: Via = { transport: 'tcp', send: () => false };
