// Process entry: environment -> folder, service; SIGTERM -> stop.
import { cfs } from '@ssi/contracts';
import { enter, serviceEnvironment } from '@ssi/entry';
import { z } from 'zod';
import { folderPlace } from './adapters/place.folder.ts';
import { createCfs } from './service.ts';

const entry = await enter({
  name: cfs.name,
  environment: serviceEnvironment.extend({
    /** Folder of the file system, the same on every node that may serve it. */
    SSI_CFS_STORE: z.string().startsWith('/'),
  }),
});
const { clock, log, tcp } = entry;
const { ics, setMap } = entry.endpoint;
const service = createCfs({
  ...{ ics, clock, log, tcp, setMap },
  place: folderPlace(entry.env.SSI_CFS_STORE),
  servicePid: process.pid,
});
entry.stopWith(() => service.stop());
void service.outlived.then(() =>
  entry.giveUp('the life of the node is over, and with it this one'),
);
await service.start();
entry.ready();
