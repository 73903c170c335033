// How the process of a service begins and ends: environment, priority, credential, endpoint, telemetry.
// What is the service's own stays in its main.ts. (membership begins otherwise: two processes take turns.)
import type { ServiceEndpoint } from '@ssi/contracts';
import { createEndpoint, credentialOf, type Endpoint } from '@ssi/ics';
import {
  goFirst,
  jsonLog,
  keepCompiledCode,
  keepHealthFile,
  systemClock,
  systemRandom,
} from '@ssi/linux';
import type { Clock, Log, Random } from '@ssi/ports';
import { natsSpanStore, startTelemetry, type Telemetry } from '@ssi/telemetry';
import type { z } from 'zod';
import { environmentOf, type ServiceEnvironment } from './environment.ts';

/** Of sysexits(3): the caller's mistake is told from what may pass, for whoever starts it again. */
export const exitCodes = { failed: 1, usage: 64 } as const;

export interface Entry<Env extends ServiceEnvironment> {
  readonly env: Env;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Of this node, one for each interconnect, best first. */
  readonly addresses: readonly string[];
  readonly endpoint: Endpoint;
  /** Where this service is reached directly, for the node map; empty: by the bus only. */
  readonly tcp: ServiceEndpoint['tcp'];
  readonly telemetry: Telemetry;
  /** The service serves: it is said, and from now on SSI_HEALTH_FILE stays young. */
  ready(detail?: Readonly<Record<string, unknown>>): void;
  /**
   * On SIGTERM and SIGINT: `stop`, then what is open of telemetry and bus, then exit 0. Once: a second
   * signal is not heard, since what ends in good order must not be cut short.
   */
  stopWith(stop: () => Promise<void> | void): void;
  /** The service cannot go on: it is said, and the process ends with 1. Its supervisor starts another. */
  giveUp(why: string, detail?: Readonly<Record<string, unknown>>): never;
}

/**
 * Opens what the service `name` (as in subjects) stands on. `localSocket`: where clients of this machine
 * reach it past the bus. Ends the process with 64 for a bad environment, with 1 without credential or bus.
 */
export async function enter<Env extends ServiceEnvironment>(q: {
  readonly name: string;
  readonly environment: z.ZodType<Env>;
  readonly localSocket?: (env: Env) => string | undefined;
}): Promise<Entry<Env>> {
  const read = environmentOf(q.environment, process.env);
  if (!read.ok) {
    process.stderr.write(`${q.name}: ${read.errno} ${read.detail}\n`);
    process.exit(exitCodes.usage);
  }
  const env = read.value;
  const { SSI_CLUSTER: cluster, SSI_NODE: node } = env;
  const clock = systemClock();
  const random = systemRandom();
  const log = jsonLog({ fields: { service: q.name, node } });
  const giveUp: Entry<Env>['giveUp'] = (why, detail) => {
    log.error(why, detail);
    process.exit(exitCodes.failed);
  };

  // Whoever calls waits for this process: it goes before the programs of the node.
  keepCompiledCode();
  const raised = goFirst();
  if (!raised.ok) log.warn('priority not raised', { detail: raised.detail });

  const credential = credentialOf(process.env, q.name);
  if (!credential.ok) giveUp('no credential', { ...credential });
  const opened = await createEndpoint({
    ...{ cluster, node, service: q.name, clock, random, log, nats: env.SSI_NATS },
    credential: credential.value,
    tcp: { localPath: q.localSocket?.(env) },
  });
  if (!opened.ok) giveUp('cannot start', { ...opened });
  const endpoint = opened.value;
  const { ics, tcpPort, nats } = endpoint;
  const telemetry = await startTelemetry({
    ...{ service: q.name, node, cluster, bootId: ics.self.bootId, clock },
    ...(nats && { store: natsSpanStore(nats, cluster, { create: !credential.value }) }),
    otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
    sample: env.SSI_TRACE_SAMPLE,
  });
  const addresses = env.SSI_ADDRESSES.split(',').filter(Boolean);

  return {
    ...{ env, clock, random, log, addresses, endpoint, telemetry, giveUp },
    tcp: tcpPort === 0 ? [] : addresses.map((host) => ({ host, port: tcpPort })),
    ready(detail) {
      keepHealthFile(env.SSI_HEALTH_FILE);
      log.info('ready', { tcpPort, ...detail });
    },
    stopWith(stop) {
      let stopping = false;
      for (const signal of ['SIGTERM', 'SIGINT'] as const)
        process.on(signal, () => {
          if (stopping) return;
          stopping = true;
          void (async () => {
            await stop();
            await telemetry.stop();
            await endpoint.close();
            process.exit(0);
          })();
        });
    },
  };
}
