// Process entry: environment -> mount, service; SIGTERM -> unmount.
import { cfsClient } from '@ssi/contracts';
import { enter, serviceEnvironment } from '@ssi/entry';
import { z } from 'zod';
import { fuseMountPoint } from './adapters/mount-point.fuse.ts';
import { createCfsClient } from './service.ts';

const entry = await enter({
  name: cfsClient.name,
  environment: serviceEnvironment.extend({
    /** Where the tree is, the same on every node. */
    SSI_CFS_MOUNT: z.string().startsWith('/'),
  }),
});
const { clock, log, tcp } = entry;
const { ics, setMap } = entry.endpoint;
const service = createCfsClient({
  ...{ ics, clock, log, tcp, setMap },
  mountPoint: fuseMountPoint(entry.env.SSI_CFS_MOUNT),
  servicePid: process.pid,
});
entry.stopWith(() => service.stop());
void service.outlived.then((why) => entry.giveUp(why));
await service.start();
entry.ready();
