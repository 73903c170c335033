// serve.ts TARGET FOLDER: mounts the tree that FOLDER holds, or a new one. `kill -9` it as you like.
import { FileServer, folderPlace, Store } from '@ssi/cfs-metadata';
import { systemClock } from '@ssi/linux';
import { clusterFilesystem, fuseMountPoint } from '../src/index.ts';
import { localServer } from './server.local.ts';

const [target = '', folder = ''] = process.argv.slice(2);
const taken = folderPlace(folder).take();
if (!taken.ok) throw new Error(taken.detail);
const opened = Store.open(taken.value.journal, 'test', [0, 0]);
if (!opened.ok) throw new Error(opened.detail);
const clock = systemClock();
const files = new FileServer(opened.value.store, taken.value.data, () => clock.wallMs());
files.forget(() => true);
const name = `1-${process.pid}x${Date.now()}`;
const fs = clusterFilesystem({ server: localServer(files, name), name, clock });
const mounted = await fuseMountPoint(target).mount(fs.operations);
process.on('SIGTERM', () => void mounted.unmount());
console.log('ready');
console.log(`ended ${await mounted.gone}`);
process.exit(0);
