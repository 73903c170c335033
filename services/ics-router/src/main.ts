// Process entry: environment -> configuration -> endpoint, telemetry, router; SIGTERM -> stop.
import { assertSpelling } from '@ssi/contracts';
import { createEndpoint, credentialOf } from '@ssi/ics';
import { goFirst, jsonLog, keepCompiledCode, systemClock, systemRandom } from '@ssi/linux';
import { natsSpanStore, sampleDefault, startTelemetry } from '@ssi/telemetry';
import { z } from 'zod';
import { openBridge } from './adapters/bridge.nats.ts';
import { tcpProber } from './adapters/prober.tcp.ts';
import { fileRevocations } from './adapters/revocations.file.ts';
import { createIcsRouter } from './service.ts';

const environment = z.object({
  SSI_CLUSTER: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/),
  SSI_NODE: z.coerce.number().int().min(1).max(1023),
  SSI_NATS: z.string(),
  /** Another bus, which has no store of its own: nodes that are there only are carried to and from this one. */
  SSI_BRIDGE_NATS: z.string().optional(),
  /** What outlives this process. */
  SSI_STATE_DIR: z.string().optional(),
  /** Comma list, one address for each interconnect, best first. */
  SSI_ADDRESSES: z.string().default('127.0.0.1'),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().optional(),
  /** Part of the ordinary traces that is kept, 0..1. */
  SSI_TRACE_SAMPLE: z.coerce.number().min(0).max(1).default(sampleDefault),
});

assertSpelling(process.env);
const parsed = environment.safeParse(process.env);
if (!parsed.success) {
  process.stderr.write(`ics-router: ${z.prettifyError(parsed.error)}\n`);
  process.exit(64);
}
const env = parsed.data;
const clock = systemClock();
const log = jsonLog({ fields: { service: 'ics', node: env.SSI_NODE } });
const random = systemRandom();
// Its answers decide whether a peer counts as reachable: not to wait behind a busy program.
keepCompiledCode();
const raised = goFirst();
if (!raised.ok) log.warn('priority not raised', { detail: raised.detail });
const addresses = env.SSI_ADDRESSES.split(',').filter(Boolean);

const credential = credentialOf(process.env, 'ics');
if (!credential.ok) {
  log.error('no credential', { errno: credential.errno, detail: credential.detail });
  process.exit(1);
}
const opened = await createEndpoint({
  cluster: env.SSI_CLUSTER,
  node: env.SSI_NODE,
  service: 'ics',
  clock,
  random,
  log,
  nats: env.SSI_NATS,
  credential: credential.value,
  tcp: {},
});
if (!opened.ok) {
  log.error('cannot start', { errno: opened.errno, detail: opened.detail });
  process.exit(1);
}
const endpoint = opened.value;
const telemetry = await startTelemetry({
  service: 'ics',
  node: env.SSI_NODE,
  cluster: env.SSI_CLUSTER,
  bootId: endpoint.ics.self.bootId,
  ...(endpoint.nats && {
    store: natsSpanStore(endpoint.nats, env.SSI_CLUSTER, { create: !credential.value }),
  }),
  otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
  sample: env.SSI_TRACE_SAMPLE,
  clock,
});
const second = env.SSI_BRIDGE_NATS;
const bridge =
  second === undefined
    ? undefined
    : await openBridge({
        ...{ cluster: env.SSI_CLUSTER, node: env.SSI_NODE, first: env.SSI_NATS, second },
        ...{ clock, random, log },
      });
if (bridge && !bridge.ok) {
  log.error('no bridge', { errno: bridge.errno, detail: bridge.detail });
  process.exit(1);
}
const router = createIcsRouter({
  ics: endpoint.ics,
  clock,
  random,
  log,
  prober: tcpProber(clock),
  ...(env.SSI_STATE_DIR && { revocations: fileRevocations(`${env.SSI_STATE_DIR}/revoked.json`) }),
  addresses,
  tcpPort: endpoint.tcpPort,
  pid: process.pid,
  setMap: endpoint.setMap,
  ...(bridge && { onMembers: bridge.value.setMembers }),
});

const stop = async (): Promise<void> => {
  await router.stop();
  if (bridge) await bridge.value.close();
  await telemetry.stop();
  await endpoint.close();
  process.exit(0);
};
process.once('SIGTERM', () => void stop());
process.once('SIGINT', () => void stop());
await router.start();
log.info('ready', { tcpPort: endpoint.tcpPort, addresses });
