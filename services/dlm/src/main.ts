// Process entry: environment -> configuration -> endpoint, telemetry, lock manager; SIGTERM -> stop.
import { assertSpelling } from '@ssi/contracts';
import { createEndpoint, credentialOf } from '@ssi/ics';
import { goFirst, jsonLog, keepCompiledCode, systemClock, systemRandom } from '@ssi/linux';
import { natsSpanStore, sampleDefault, startTelemetry } from '@ssi/telemetry';
import { z } from 'zod';
import { fileTokenRecord } from './adapters/token-record.file.ts';
import { createDlm, deadlockDefaultMs } from './service.ts';

const environment = z.object({
  SSI_CLUSTER: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/),
  SSI_NODE: z.coerce.number().int().min(1).max(1023),
  SSI_NATS: z.string(),
  /** Where what outlives the service is kept: tmpfs, gone with the node's boot. */
  SSI_NODE_DIR: z.string().min(1),
  /** A folder of the node on its machine, for the socket of clients there. */
  SSI_STATE_DIR: z.string().optional(),
  /** Comma list, one address for each interconnect, best first. */
  SSI_ADDRESSES: z.string().default('127.0.0.1'),
  /** Longest wait, ms, before it is looked for deadlocks over several resources; 0: never. [DEADLOCK_WAIT] */
  SSI_DEADLOCK_WAIT: z.coerce.number().int().min(0).max(3_600_000).default(deadlockDefaultMs),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().optional(),
  /** Part of the ordinary traces that is kept, 0..1. */
  SSI_TRACE_SAMPLE: z.coerce.number().min(0).max(1).default(sampleDefault),
});

assertSpelling(process.env);
const parsed = environment.safeParse(process.env);
if (!parsed.success) {
  process.stderr.write(`dlm: ${z.prettifyError(parsed.error)}\n`);
  process.exit(64);
}
const env = parsed.data;
const clock = systemClock();
const log = jsonLog({ fields: { service: 'dlm', node: env.SSI_NODE } });
// Whoever holds a lock, or waits for one, waits for this process.
keepCompiledCode();
const raised = goFirst();
if (!raised.ok) log.warn('priority not raised', { detail: raised.detail });
const addresses = env.SSI_ADDRESSES.split(',').filter(Boolean);

const credential = credentialOf(process.env, 'dlm');
if (!credential.ok) {
  log.error('no credential', { errno: credential.errno, detail: credential.detail });
  process.exit(1);
}
const opened = await createEndpoint({
  cluster: env.SSI_CLUSTER,
  node: env.SSI_NODE,
  service: 'dlm',
  clock,
  random: systemRandom(),
  log,
  nats: env.SSI_NATS,
  credential: credential.value,
  tcp: { localPath: env.SSI_STATE_DIR && `${env.SSI_STATE_DIR}/dlm.sock` },
});
if (!opened.ok) {
  log.error('cannot start', { errno: opened.errno, detail: opened.detail });
  process.exit(1);
}
const { ics, tcpPort, nats, setMap, close } = opened.value;
const telemetry = await startTelemetry({
  service: 'dlm',
  node: env.SSI_NODE,
  cluster: env.SSI_CLUSTER,
  bootId: ics.self.bootId,
  ...(nats && { store: natsSpanStore(nats, env.SSI_CLUSTER, { create: !credential.value }) }),
  otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
  sample: env.SSI_TRACE_SAMPLE,
  clock,
});
const dlm = createDlm({
  ...{ ics, clock, log, setMap },
  tokens: fileTokenRecord(`${env.SSI_NODE_DIR}/dlm`),
  servicePid: process.pid,
  deadlockMs: env.SSI_DEADLOCK_WAIT,
  tcp: tcpPort === 0 ? [] : addresses.map((host) => ({ host, port: tcpPort })),
});

const stop = async (): Promise<void> => {
  dlm.stop();
  await telemetry.stop();
  await close();
  process.exit(0);
};
process.once('SIGTERM', () => void stop());
process.once('SIGINT', () => void stop());
// Its supervisor starts another.
void dlm.outlived.then(() => {
  log.warn('the life of the node is over, and with it this one');
  process.exit(1);
});
await dlm.start();
log.info('ready', { tcpPort });
