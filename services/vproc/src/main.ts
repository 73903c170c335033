// Process entry: environment -> configuration -> endpoint, telemetry, the node's ports, vproc. SIGTERM
// stops the service only: the node's programs go on, and the next start takes them over.
import { fileURLToPath } from 'node:url';
import { assertSpelling, pidRange } from '@ssi/contracts';
import { createEndpoint, credentialOf } from '@ssi/ics';
import { goFirst, jsonLog, keepCompiledCode, systemClock, systemRandom } from '@ssi/linux';
import { natsSpanStore, sampleDefault, startTelemetry } from '@ssi/telemetry';
import { z } from 'zod';
import { armedFailpoints } from './adapters/armed-failpoints.ts';
import { linuxRecords } from './adapters/files.linux.ts';
import { linuxHolders } from './adapters/holders.linux.ts';
import { linuxMachine } from './adapters/machine.linux.ts';
import { noNativePorts } from './adapters/ports.none.ts';
import { createVproc } from './service.ts';

const environment = z.object({
  SSI_CLUSTER: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/),
  SSI_NODE: z.coerce.number().int().min(1).max(1023),
  SSI_NATS: z.string(),
  SSI_NODE_DIR: z.string().min(1),
  /** The programs cgroup; absent: a node that runs actors only. */
  SSI_CGROUP: z.string().optional(),
  /** Comma list, one address for each interconnect, best first. */
  SSI_ADDRESSES: z.string().default('127.0.0.1'),
  /** Tests only: `point=kill,...`, or `file`. */
  SSI_FAILPOINTS: z.string().optional(),
  SSI_PID_BITS: z.enum(['14', '16']).default('16'),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().optional(),
  /** Part of the ordinary traces that is kept, 0..1. */
  SSI_TRACE_SAMPLE: z.coerce.number().min(0).max(1).default(sampleDefault),
});

assertSpelling(process.env);
const parsed = environment.safeParse(process.env);
if (!parsed.success) {
  process.stderr.write(`vproc: environment: ${z.prettifyError(parsed.error)}\n`);
  process.exit(2);
}
const env = parsed.data;
const clock = systemClock();
const random = systemRandom();
const log = jsonLog({ fields: { service: 'vproc', node: env.SSI_NODE } });
// A tree that is frozen waits for this process and for criu, which inherits the priority.
keepCompiledCode();
const raised = goFirst();
if (!raised.ok) log.warn('priority not raised', { detail: raised.detail });
const addresses = env.SSI_ADDRESSES.split(',').filter(Boolean);

const credential = credentialOf(process.env, 'vproc');
if (!credential.ok) {
  process.stderr.write(`vproc: ${credential.errno} ${credential.detail}\n`);
  process.exit(1);
}
const endpoint = await createEndpoint({
  cluster: env.SSI_CLUSTER,
  node: env.SSI_NODE,
  service: 'vproc',
  clock,
  random,
  log,
  nats: env.SSI_NATS,
  credential: credential.value,
  tcp: {},
});
if (!endpoint.ok) {
  process.stderr.write(`vproc: ${endpoint.errno} ${endpoint.detail}\n`);
  process.exit(1);
}
const { ics, streams, tcpPort, nats, setMap, close } = endpoint.value;
const telemetry = await startTelemetry({
  service: 'vproc',
  node: env.SSI_NODE,
  cluster: env.SSI_CLUSTER,
  bootId: ics.self.bootId,
  clock,
  otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
  sample: env.SSI_TRACE_SAMPLE,
  ...(nats ? { store: natsSpanStore(nats, env.SSI_CLUSTER, { create: !credential.value }) } : {}),
});
const nodeDir = env.SSI_NODE_DIR;
const toolsDir = fileURLToPath(new URL('../../../.tools', import.meta.url));
const failpoint = armedFailpoints(env.SSI_FAILPOINTS, { nodeDir, clock });
if (!failpoint.ok) {
  process.stderr.write(`vproc: SSI_FAILPOINTS: ${failpoint.detail}\n`);
  process.exit(2);
}
const machine = env.SSI_CGROUP
  ? linuxMachine({ nodeDir, toolsDir, cgroup: env.SSI_CGROUP, clock, log })
  : undefined;
const ports = machine
  ? {
      ...machine,
      holders: linuxHolders({
        cgroupProcs: `${env.SSI_CGROUP}/cgroup.procs`,
        streams: machine.streams,
      }),
    }
  : noNativePorts(
      {
        records: linuxRecords(`${nodeDir}/moves`),
        state: linuxRecords(`${nodeDir}/vproc`),
        actorRecords: linuxRecords(`${nodeDir}/actors`),
      },
      pidRange(env.SSI_NODE, env.SSI_PID_BITS === '14' ? 14 : 16),
    );
const vproc = createVproc({
  ics,
  clock,
  random,
  log,
  tracer: telemetry.tracer,
  ports,
  streams,
  failpoint: failpoint.value,
  num: env.SSI_NODE,
  servicePid: process.pid,
  tcp: tcpPort === 0 ? [] : addresses.map((host) => ({ host, port: tcpPort })),
  setMap,
});

let stopping = false;
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.on(signal, () => {
    if (stopping) return;
    stopping = true;
    void (async () => {
      await vproc.stop();
      await telemetry.stop();
      await close();
      await machine?.close();
      process.exit(0);
    })();
  });

await vproc.start();
log.info('serving', { tcpPort });
