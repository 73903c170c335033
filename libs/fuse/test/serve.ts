// A server for tests and benchmarks, a process of its own: serves one of the example file systems.
//   serve.ts memory TARGET                mounts, prints `ready JSON`, ends with the mount; SIGTERM unmounts
//   serve.ts passthrough TARGET SOURCE    the same with a directory's files; --backing: by backing files
//   serve.ts fixed TARGET                 SIGUSR1 changes `data`, SIGUSR2 aborts
//   serve.ts fixed --fd 3 [--resume JSON] serves a mounted descriptor that it was given, and lets go of it at
//                                         SIGTERM; --stuck: see fixed-fs.ts
import { parseArgs } from 'node:util';
import { type Filesystem, mount, resume, Session } from '@ssi/fuse';
import { fixedFilesystem } from './fixed-fs.ts';
import { memoryFilesystem } from './memory-fs/memory-fs.ts';
import { passthroughFilesystem } from './passthrough-fs.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    fd: { type: 'string' },
    resume: { type: 'string' },
    spin: { type: 'string' },
    backing: { type: 'boolean' },
    stuck: { type: 'boolean' },
  },
});
const [kind = '', target = '', source = ''] = positionals;
const options = {
  features: { passthrough: values.backing ?? false },
  spinUs: Number(values.spin ?? 30),
};
let session: Session | undefined;
const say = (line: string): void => console.log(line);
const fixed = fixedFilesystem(values.stuck ?? false, say);
const kinds: Record<string, () => Filesystem> = {
  memory: memoryFilesystem,
  passthrough: () => passthroughFilesystem(source, () => session, values.backing ?? false),
  fixed: () => fixed,
};
const fs = kinds[kind]?.();
if (!fs) throw new Error(`no file system ${kind}: ${Object.keys(kinds).join(', ')}`);

if (values.fd !== undefined) {
  const fd = Number(values.fd);
  if (values.resume) session = await resume(fs, fd, JSON.parse(values.resume), options);
  else {
    session = new Session(fs, fd, options);
    session.start();
  }
  process.on('SIGTERM', () => void session?.detach());
} else {
  const mounted = await mount(fs, { target, name: kind }, options);
  session = mounted.session;
  process.on('SIGTERM', () => void mounted.unmount('lazy'));
  process.on('SIGUSR2', () => void mounted.unmount('abort'));
}
process.on('SIGUSR1', async () => say(`changed ${session && (await fixed.change(session))}`));
say(`ready ${JSON.stringify(await session.negotiated)}`);
say(`ended ${await session.ended}`);
process.exit(0);
