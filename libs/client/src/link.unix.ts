// The client's link to a cluster that is embedded in another process of this machine: the memory transport
// and the span store of that process, by its unix socket. There are no streams: it runs actors only.
import { fail, ok, type Reply } from '@ssi/contracts';
import { createIcs, enterUnixDoor } from '@ssi/ics';
import { askedSpanStore, startTelemetry } from '@ssi/telemetry';
import { clientClock as clock } from './clock.ts';
import type { ClientLink } from './link.ts';
import { clientRandom as random } from './random.ts';

export interface UnixLinkOptions {
  readonly cluster: string;
  readonly path: string;
  readonly seeds: readonly number[];
  readonly sample?: number;
  readonly otlpEndpoint?: string | undefined;
}

export async function unixLink(
  options: UnixLinkOptions,
): Promise<Reply<ClientLink, 'ECONNREFUSED'>> {
  const { cluster, path, seeds } = options;
  const self = { node: 0, service: `client_${random.hex(8)}` };
  const entered = await enterUnixDoor(path, cluster, self);
  if (!entered.ok)
    return fail('ECONNREFUSED', `${entered.detail}; its process has ended: ssi down, then ssi up`);
  const { transport, ask, onHint } = entered.value;
  const spans = askedSpanStore(ask);
  const telemetry = await startTelemetry({
    ...{ service: 'client', node: 0, cluster, store: spans, clock },
    otlpEndpoint: options.otlpEndpoint,
    ...(options.sample !== undefined && { sample: options.sample }),
  });
  const { tracer } = telemetry;
  const ics = createIcs({ ...self, clock, random, tracer, transports: [transport] });
  let closing: Promise<void> | undefined;
  return ok({
    ...{ cluster, ics, clock, tracer, spans, seeds, uid: 0, onEvent: onHint },
    streams: {
      connect: async () => fail('EHOSTUNREACH', 'an embedded cluster has no streams'),
    },
    openEndpoint: async (node, service) => {
      const serving = await enterUnixDoor(path, cluster, { node, service });
      if (!serving.ok) return serving;
      const transports = [serving.value.transport];
      const endpoint = createIcs({ node, service, clock, random, tracer, transports });
      return ok({ ics: endpoint, servicePid: process.pid, tcp: [] });
    },
    close: () => {
      closing ??= telemetry
        .stop()
        .then(() => ics.close())
        .catch(() => {}); // the cluster went away first
      return closing;
    },
  });
}
