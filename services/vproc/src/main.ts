// Process entry: environment -> configuration -> endpoint, telemetry, the node's ports, vproc. SIGTERM
// stops the service only: the node's programs go on, and the next start takes them over.
import { fileURLToPath } from 'node:url';
import { pidRange } from '@ssi/contracts';
import { enter, exitCodes, serviceEnvironment } from '@ssi/entry';
import { z } from 'zod';
import { armedFailpoints } from './adapters/armed-failpoints.ts';
import { linuxRecords } from './adapters/files.linux.ts';
import { linuxHolders } from './adapters/holders.linux.ts';
import { linuxMachine } from './adapters/machine.linux.ts';
import { noNativePorts } from './adapters/ports.none.ts';
import { createVproc } from './service.ts';

const entry = await enter({
  name: 'vproc',
  environment: serviceEnvironment.extend({
    SSI_NODE_DIR: z.string().min(1),
    /** The programs cgroup; absent: a node that runs actors only. */
    SSI_CGROUP: z.string().optional(),
    /** Tests only: `point=kill,...`, or `file`. */
    SSI_FAILPOINTS: z.string().optional(),
    SSI_PID_BITS: z.enum(['14', '16']).default('16'),
  }),
});
const { env, clock, random, log, tcp } = entry;
const { ics, streams, setMap } = entry.endpoint;
const nodeDir = env.SSI_NODE_DIR;
const toolsDir = fileURLToPath(new URL('../../../.tools', import.meta.url));
const failpoint = armedFailpoints(env.SSI_FAILPOINTS, { nodeDir, clock });
if (!failpoint.ok) {
  process.stderr.write(`vproc: SSI_FAILPOINTS: ${failpoint.detail}\n`);
  process.exit(exitCodes.usage);
}
const machine = env.SSI_CGROUP
  ? linuxMachine({ nodeDir, toolsDir, cgroup: env.SSI_CGROUP, clock, log, nats: env.SSI_NATS })
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
  ...{ ics, clock, random, log, ports, streams, tcp, setMap },
  tracer: entry.telemetry.tracer,
  failpoint: failpoint.value,
  num: env.SSI_NODE,
  servicePid: process.pid,
});
// Of the machine too: the helpers that vproc keeps beside itself end with it.
entry.stopWith(async () => {
  await vproc.stop();
  await machine?.close();
});
await vproc.start();
entry.ready();
