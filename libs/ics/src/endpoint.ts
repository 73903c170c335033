// What a service's main.ts or a client opens: the bus, the direct transport, streams, and ICS over them.
import { connect, type NatsConnection, type TlsOptions } from '@nats-io/transport-node';
import type { Tracer } from '@opentelemetry/api';
import {
  busHost,
  type Credential,
  fail,
  libraryInbox,
  ok,
  type Reply,
  type ServiceEndpoint,
} from '@ssi/contracts';
import { type Clock, type Log, noLog, type Random, type Streams } from '@ssi/ports';
import { encryptionOf } from './encryption.ts';
import { identityOf } from './hello.ts';
import { createIcs, type IcsEndpoint } from './ics.ts';
import { nkeyProof } from './nkey.ts';
import { tcpStreams } from './stream.tcp.ts';
import type { MemoryBus } from './transport.memory.ts';
import { natsTransport } from './transport.nats.ts';
import { type LocalServer, type TcpTransport, tcpTransport } from './transport.tcp.ts';
import type { Transport } from './transport.ts';

const reconnectWaitMs = 250;
/** A broker that is there but does not answer is given up after two of these. */
const pingMs = 5_000;

export interface EndpointOptions {
  readonly cluster: string;
  /** 0: a client. */
  readonly node: number;
  /** A contract's name, or a client's random name ([A-Za-z0-9_]{1,32}). */
  readonly service: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log;
  /** Absent: the process's own, as the API knows it. */
  readonly tracer?: Tracer;
  /** nats://user:password@host:port, several with commas; absent: no bus. */
  readonly nats?: string;
  /** What it proves itself with to the bus; absent: what the URL says. */
  readonly credential?: Credential | undefined;
  /** Wait for the bus for ever (services) or this long, ms (clients). */
  readonly busWaitMs?: number;
  /** Listen for direct connections; `host` absent: every interface. Clients leave it out. */
  readonly tcp?: {
    readonly host?: string;
    readonly port?: number;
    /** A socket of the file system besides, for root of this machine; left out where it cannot be. */
    readonly localPath?: string | undefined;
  };
  /** Sockets of servers in this machine's file system, that this client may open. */
  readonly local?: readonly LocalServer[];
  /** Shared by the services that one process hosts: they do not cross the bus then. */
  readonly memory?: MemoryBus;
}

export interface Endpoint {
  readonly ics: IcsEndpoint;
  readonly streams: Streams;
  /** 0: not listening. */
  readonly tcpPort: number;
  /** The bus itself, for what is not a call (key-value store, spans, heartbeats). */
  readonly nats: NatsConnection | undefined;
  /**
   * The node map, as the router gives it: from then on calls go direct where that is faster. `revoked`:
   * serial numbers of certificates, and boot ids of lives, that are worth nothing any more.
   */
  setMap(map: readonly ServiceEndpoint[], revoked?: readonly string[]): void;
  close(): Promise<void>;
}

/** EHOSTUNREACH: the bus is not there (within `busWaitMs`); EACCES: it does not take the credentials. */
export async function createEndpoint(
  options: EndpointOptions,
): Promise<Reply<Endpoint, 'EHOSTUNREACH' | 'EACCES' | 'EADDRINUSE'>> {
  const { cluster, node, service, clock, random } = options;
  const log = options.log ?? noLog;
  // A client is addressed by its boot id too: one principal has many at a time.
  const bootId = random.hex(8);
  const self = { node, service, ...(node === 0 && { instance: bootId }) };
  const encryption = encryptionOf(options.credential);
  const transports: Transport[] = [];
  if (options.memory) transports.push(options.memory.transport(self));
  let tcp: TcpTransport | undefined;
  let tcpPort = 0;
  if (options.tcp) {
    tcp = tcpTransport({ cluster, clock, identity: identityOf(options.credential), encryption });
    try {
      tcpPort = await tcp.listen(options.tcp.port ?? 0, options.tcp.host);
      const { localPath } = options.tcp;
      if (localPath) await tcp.listenLocal(localPath).catch((e) => log.info(String(e)));
    } catch (error) {
      return fail('EADDRINUSE', `cannot listen: ${String(error)}`);
    }
    transports.push(tcp);
  } else if (options.local && options.local.length > 0)
    transports.push(tcpTransport({ cluster, clock, local: options.local }));
  let nats: NatsConnection | undefined;
  if (options.nats !== undefined) {
    const connected = await connectBus(options.nats, `${cluster}.${node}-${service}`, {
      ...options,
      inboxPrefix: libraryInbox(cluster, self),
    });
    if (!connected.ok) {
      await tcp?.close();
      return connected;
    }
    nats = connected.value;
    transports.push(natsTransport({ connection: nats, cluster, self }));
  }
  const tracer = options.tracer ? { tracer: options.tracer } : {};
  const ics = createIcs({ node, service, bootId, clock, random, transports, log, ...tracer });
  return ok({
    ics,
    streams: tcpStreams({ clock, host: options.tcp?.host, encryption }),
    tcpPort,
    nats,
    setMap: (map, revoked = []) => {
      tcp?.setRevoked(revoked);
      tcp?.setMap(map);
      for (const e of map) ics.learn(e.node, e.service, e.bootId);
    },
    close: async () => {
      await ics.close();
      await nats?.close();
    },
  });
}

/** Servers and credentials out of one text. */
function parseBus(text: string): { servers: string[]; tls: boolean; user?: string; pass?: string } {
  const urls = text.split(',').map((part) => new URL(part.trim()));
  const servers = urls.map((u) => u.host);
  const tls = urls.some((u) => u.protocol === 'tls:');
  const first = urls.find((u) => u.username !== '');
  if (!first) return { servers, tls };
  const user = decodeURIComponent(first.username);
  return { servers, tls, user, pass: decodeURIComponent(first.password) };
}

/** How a bus is known whose URL is tls://: by the cluster's own authority, where there is one. */
export const busTls = (held: Credential | undefined): TlsOptions =>
  held ? Object.assign({ ca: held.ca }, { servername: busHost(held.cluster) }) : {};

/** `text`: as `EndpointOptions.nats`. `noEcho`: what it publishes does not come back to it. */
export async function connectBus(
  text: string,
  name: string,
  q: {
    busWaitMs?: number;
    credential?: Credential | undefined;
    inboxPrefix: string;
    noEcho?: boolean;
  },
): Promise<Reply<NatsConnection, 'EHOSTUNREACH' | 'EACCES'>> {
  const bus = parseBus(text);
  const { seed } = q.credential ?? {};
  // A user without a password is a token. [NATS: token authentication]
  const credentials = seed
    ? { authenticator: (nonce?: string) => nkeyProof(seed)(nonce) } // a damaged one fails to connect
    : bus.user === undefined
      ? {}
      : bus.pass
        ? { user: bus.user, pass: bus.pass }
        : { token: bus.user };
  const attempt = connect({
    servers: bus.servers,
    ...credentials,
    name,
    inboxPrefix: q.inboxPrefix,
    ...(q.noEcho && { noEcho: true }),
    ...(bus.tls && { tls: busTls(q.credential) }),
    maxReconnectAttempts: -1,
    reconnectTimeWait: reconnectWaitMs,
    waitOnFirstConnect: q.busWaitMs === undefined,
    ignoreAuthErrorAbort: true,
    pingInterval: pingMs,
    ...(q.busWaitMs === undefined ? {} : { timeout: q.busWaitMs }),
  });
  try {
    return ok(await attempt);
  } catch (error) {
    const where = bus.servers.join(', ');
    if (error instanceof Error && /authoriz/i.test(`${error.name} ${error.message}`))
      return fail('EACCES', `the bus at ${where} refuses these credentials`);
    return fail('EHOSTUNREACH', `no bus at ${where}: ${String(error)}`);
  }
}
