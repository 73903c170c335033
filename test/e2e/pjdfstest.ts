// npm run pjdfstest -- FOLDER [TESTS…]: pjdfstest (github.com/pjd/pjdfstest, built there: see
// libs/fuse/README.md) on the file system in memory of libs/fuse, mounted in a mount namespace of its own.
// TESTS are folders or files of it. Ends with prove's code.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { inside: { type: 'boolean' } },
});
const [folder, ...only] = positionals;
if (folder === undefined || !existsSync(join(folder, 'pjdfstest'))) {
  console.error('usage: npm run pjdfstest -- FOLDER, where FOLDER/pjdfstest is built');
  process.exit(2);
}

const run = (command: string, ...args: string[]) =>
  new Promise<number>((done) => {
    const child = spawn(command, args, { stdio: 'inherit' });
    child.on('error', (error) => {
      console.error(`${command}: ${error.message}`);
      done(127);
    });
    child.on('exit', (code) => done(code ?? 1));
  });

if (!values.inside) {
  const unshared = ['--mount', '--propagation', 'private', process.execPath];
  process.exit(
    await run('unshare', ...unshared, ...process.execArgv, ...process.argv.slice(1), '--inside'),
  );
}

const target = mkdtempSync(join(tmpdir(), 'pjdfstest-'));
const serve = fileURLToPath(new URL('../../libs/fuse/test/serve.ts', import.meta.url));
const server = spawn(process.execPath, [...process.execArgv, serve, 'memory', target], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
await new Promise((ready) => server.stdout.once('data', ready));
const work = join(target, 'work');
mkdirSync(work);
process.chdir(work);
const tests = only.length > 0 ? only : ['tests'];
const code = await run('prove', '-r', ...tests.map((t) => join(folder, t)));
process.chdir('/');
server.kill('SIGTERM');
await new Promise((ended) => server.once('exit', ended));
rmdirSync(target);
process.exit(code);
