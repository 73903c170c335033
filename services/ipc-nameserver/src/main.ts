// Process entry: environment -> cache, service; SIGTERM -> stop.
import { enter, serviceEnvironment } from '@ssi/entry';
import { z } from 'zod';
import { fileIdRecord } from './adapters/id-record.file.ts';
import { memoryNameCache, memoryStore } from './adapters/name-cache.memory.ts';
import { redisNameCache } from './adapters/name-cache.redis.ts';
import { linuxPrograms } from './adapters/programs.linux.ts';
import { createIpc } from './service.ts';

const entry = await enter({
  name: 'ipc',
  environment: serviceEnvironment.extend({
    /** URL of the cache; empty: none, which costs a new nameserver time only. */
    SSI_REDIS: z.string().default(''),
    /** Where what outlives the service is kept: tmpfs, gone with the node's boot. */
    SSI_NODE_DIR: z.string().min(1),
    /** A folder of the node on its machine, for the socket of clients there. */
    SSI_STATE_DIR: z.string().optional(),
  }),
  localSocket: (env) => env.SSI_STATE_DIR && `${env.SSI_STATE_DIR}/ipc.sock`,
});
const { clock, log, tcp } = entry;
const { ics, setMap } = entry.endpoint;
const { SSI_CLUSTER: cluster, SSI_REDIS: url, SSI_NODE_DIR: nodeDir } = entry.env;
const ipc = createIpc({
  ...{ ics, clock, log, tcp, setMap },
  cache: url ? redisNameCache({ url, cluster, log }) : memoryNameCache(memoryStore(), cluster),
  ids: fileIdRecord(`${nodeDir}/ipc`),
  programs: linuxPrograms({ socketPath: `${nodeDir}/sysvipc`, clock, log }),
  servicePid: process.pid,
});
entry.stopWith(() => ipc.stop());
void ipc.outlived.then(() => entry.giveUp('the life of the node is over, and with it this one'));
await ipc.start();
entry.ready();
