// The client's link on a real bus: an ICS endpoint with a name of its own, no listener, and spans into
// the built-in store.
import { jetstreamManager } from '@nats-io/jetstream';
import { connect as connectNats } from '@nats-io/transport-node';
import { type Credential, eventSubject, fail, libraryInbox, ok, type Reply } from '@ssi/contracts';
import { busTls, createEndpoint, type EndpointOptions, nkeyProof } from '@ssi/ics';
import { natsSpanStore, spanStream, startTelemetry } from '@ssi/telemetry';
import { clientClock } from './clock.ts';
import type { ClientLink } from './link.ts';
import { clientRandom as random } from './random.ts';

export interface NatsLinkOptions {
  readonly cluster: string;
  /** nats://user:password@host:port, several with commas. */
  readonly nats: string;
  /** Absent: the URL says who we are. */
  readonly credential?: Credential | undefined;
  /** That of a service of a node which this process serves as. */
  readonly serviceCredential?: (node: number, service: string) => Credential | undefined;
  readonly seeds: readonly number[];
  /** Sockets of lock managers in this machine's file system. */
  readonly local?: EndpointOptions['local'];
  readonly uid: number;
  readonly gid?: number | undefined;
  readonly otlpEndpoint?: string | undefined;
  /** Part of the ordinary traces that is kept, 0..1. */
  readonly sample?: number;
  /** How long to try to reach the bus, ms. */
  readonly waitMs: number;
}

export async function natsLink(
  options: NatsLinkOptions,
): Promise<Reply<ClientLink, 'ECONNREFUSED' | 'EACCES'>> {
  const { cluster } = options;
  const opened = await createEndpoint({
    cluster,
    node: 0,
    service: options.credential?.service ?? `client_${random.hex(8)}`,
    clock: clientClock,
    random,
    nats: options.nats,
    credential: options.credential,
    busWaitMs: options.waitMs,
    ...(options.local && { local: options.local }),
  });
  if (!opened.ok) {
    const { errno, detail } = opened;
    if (errno === 'EACCES')
      return fail('EACCES', `${detail}; check SSI_NATS or run as who ran ssi up`);
    return fail('ECONNREFUSED', `${detail}; is the cluster up? see: ssi doctor`);
  }
  const { ics, streams, nats, close } = opened.value;
  if (!nats) throw new Error('an endpoint that was given a bus has none');
  const spans = natsSpanStore(nats, cluster, { create: options.credential === undefined });
  const telemetry = await startTelemetry({
    service: 'client',
    node: 0,
    cluster,
    store: spans,
    otlpEndpoint: options.otlpEndpoint,
    ...(options.sample !== undefined && { sample: options.sample }),
    clock: clientClock,
  });
  let closing: Promise<void> | undefined;
  return ok({
    cluster,
    ics,
    streams,
    clock: clientClock,
    tracer: telemetry.tracer,
    spans,
    seeds: options.seeds,
    uid: options.uid,
    gid: options.gid,
    onEvent: (fn) => {
      // A wait that was under way when the link was closed ends by itself.
      if (nats.isClosed()) return { stop: () => {} };
      const subscription = nats.subscribe(eventSubject(cluster, '>'), { callback: () => fn() });
      return { stop: () => subscription.unsubscribe() };
    },
    openEndpoint: async (node, service) => {
      const served = await createEndpoint({
        cluster,
        node,
        service,
        clock: clientClock,
        random,
        nats: options.nats,
        credential: options.serviceCredential?.(node, service),
        busWaitMs: options.waitMs,
      });
      if (!served.ok) return served;
      const { ics: serving, setMap, close: closeServing } = served.value;
      return ok({
        ics: { ...serving, close: closeServing },
        servicePid: process.pid,
        tcp: [],
        setMap,
      });
    },
    close: () => {
      closing ??= telemetry
        .stop()
        .then(close)
        .catch(() => {}); // the bus went away first
      return closing;
    },
  });
}

export interface BusProbe {
  readonly version: string;
  readonly rttMs: number;
  readonly jetstream: boolean;
  /** The bus's wall clock minus ours, ms; known to half a round trip. undefined without JetStream. */
  readonly skewMs: number | undefined;
}

/** Asks a bus what it is, for `ssi doctor`. */
export async function probeBus(
  url: string,
  waitMs: number,
  held?: Credential,
): Promise<Reply<BusProbe, 'ECONNREFUSED'>> {
  try {
    const { username, password, host, protocol } = new URL(url);
    const nats = await connectNats({
      servers: host,
      timeout: waitMs,
      maxReconnectAttempts: 0,
      ...(protocol === 'tls:' && { tls: busTls(held) }),
      ...(held && {
        authenticator: nkeyProof(held.seed),
        inboxPrefix: libraryInbox(held.cluster, held),
      }),
      ...(username && { user: decodeURIComponent(username), pass: decodeURIComponent(password) }),
    });
    try {
      const rttMs = await nats.rtt();
      const { version = '', jetstream = false } = nats.info ?? {};
      const skewMs = jetstream ? await skewOf(nats, held?.cluster) : undefined;
      return ok({ version, rttMs, jetstream, skewMs });
    } finally {
      await nats.close();
    }
  } catch (error) {
    return fail('ECONNREFUSED', error instanceof Error ? error.message : String(error));
  }
}

/** JetStream stamps what it tells of a stream with its own time. */
async function skewOf(
  nats: Awaited<ReturnType<typeof connectNats>>,
  cluster: string | undefined,
): Promise<number | undefined> {
  const manager = await jetstreamManager(nats, { timeout: 2_000, checkAPI: false });
  const streams =
    cluster === undefined ? await manager.streams.names().next() : [spanStream(cluster)];
  for (const stream of streams) {
    const before = clientClock.wallMs();
    const info = await manager.streams.info(stream);
    const after = clientClock.wallMs();
    const at = Date.parse((info as { ts?: string }).ts ?? '');
    return Number.isNaN(at) ? undefined : at - (before + after) / 2;
  }
  return undefined;
}
