// serve.ts TARGET FOLDER: mounts the tree that FOLDER holds, or a new one. `kill -9` it as you like.
//   --fd 3 [--resume JSON]: serves a mounted descriptor that it was given.

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileJournal, Store } from '@ssi/cfs-metadata';
import { mount, resume, Session } from '@ssi/fuse';
import { clusterFilesystem, folderData } from '../src/index.ts';
import { storeMetadata } from './metadata.store.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { fd: { type: 'string' }, resume: { type: 'string' } },
});
const [target = '', folder = ''] = positionals;
const opened = Store.open(fileJournal(join(folder, 'metadata')), 'test', [0, 0]);
if (!opened.ok) throw new Error(opened.detail);
// Numbers of requests are a connection's: the one that the descriptor is, or this process's own.
const name = values.fd === undefined ? `mount-${process.pid}-${Date.now()}` : 'connection';
const fs = clusterFilesystem({
  metadata: storeMetadata(opened.value.store, name),
  data: folderData(join(folder, 'data')),
  name,
  nowMs: () => performance.timeOrigin + performance.now(),
});
const options = { entryTtlMs: 60_000, attributesTtlMs: 60_000 };
let session: Session;
if (values.fd === undefined) {
  const mounted = await mount(fs, { target, name: 'cfs' }, options);
  session = mounted.session;
  process.on('SIGTERM', () => void mounted.unmount('lazy'));
} else if (values.resume) {
  session = await resume(fs, Number(values.fd), JSON.parse(values.resume), options);
} else {
  session = new Session(fs, Number(values.fd), options);
  session.start();
}
console.log(`ready ${JSON.stringify(await session.negotiated)}`);
console.log(`ended ${await session.ended}`);
process.exit(0);
