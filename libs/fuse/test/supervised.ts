// supervised.ts TARGET: mounts, and keeps the connection while servers come and go: a signal's name on standard
// input goes to the server that runs, and when it has ended the next continues. What servers print is printed.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Device, mountFd, unmount } from '@ssi/fuse';

const [target = ''] = process.argv.slice(2);
const fd = Device.openFd();
const result = mountFd(fd, { target, name: 'supervised' });
if (result < 0) throw new Error(`mount: ${result}`);

let agreed = '';
const serve = fileURLToPath(new URL('serve.ts', import.meta.url));
function start(...args: string[]): ChildProcess {
  const child = spawn(
    process.execPath,
    [...process.execArgv, serve, 'fixed', '--fd', '3', ...args],
    { stdio: ['ignore', 'pipe', 'inherit', fd] },
  );
  createInterface(child.stdout as NodeJS.ReadableStream).on('line', (line) => {
    if (line.startsWith('ready')) agreed = line.slice('ready '.length);
    console.log(line);
  });
  return child;
}
let server = start('--stuck');
createInterface(process.stdin)
  .on('line', (signal) => {
    server.on('exit', () => {
      server = start('--resume', agreed);
    });
    server.kill(signal as NodeJS.Signals);
  })
  .on('close', async () => {
    await unmount(target, 'abort');
    server.on('exit', () => process.exit(0));
  });
