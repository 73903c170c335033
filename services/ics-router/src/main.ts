// Process entry: environment -> bridge, router; SIGTERM -> stop.
import { enter, serviceEnvironment } from '@ssi/entry';
import { z } from 'zod';
import { openBridge } from './adapters/bridge.nats.ts';
import { tcpProber } from './adapters/prober.tcp.ts';
import { fileRevocations } from './adapters/revocations.file.ts';
import { createIcsRouter } from './service.ts';

const entry = await enter({
  name: 'ics',
  environment: serviceEnvironment.extend({
    /** Another bus, which has no store of its own: nodes that are there only are carried to and from this one. */
    SSI_BRIDGE_NATS: z.string().optional(),
    /** What outlives this process. */
    SSI_STATE_DIR: z.string().optional(),
  }),
});
const { env, clock, random, log, addresses } = entry;
const { ics, setMap, tcpPort } = entry.endpoint;
const second = env.SSI_BRIDGE_NATS;
const bridge =
  second === undefined
    ? undefined
    : await openBridge({
        ...{ cluster: env.SSI_CLUSTER, node: env.SSI_NODE, first: env.SSI_NATS, second },
        ...{ clock, random, log },
      });
if (bridge && !bridge.ok) throw entry.giveUp('no bridge', { ...bridge });
const router = createIcsRouter({
  ...{ ics, clock, random, log, addresses, tcpPort, setMap },
  prober: tcpProber(clock),
  ...(env.SSI_STATE_DIR && { revocations: fileRevocations(`${env.SSI_STATE_DIR}/revoked.json`) }),
  pid: process.pid,
  ...(bridge && { onMembers: bridge.value.setMembers }),
});
entry.stopWith(async () => {
  await router.stop();
  await bridge?.value.close();
});
await router.start();
entry.ready({ addresses });
