// The library on real mounts. Each is in a mount namespace of its own; see mounted-server.ts.
import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { type MountedServer, noFuse, startServer } from './mounted-server.ts';

const reason = noFuse();
if (reason) console.warn(`FUSE: mounts are not tested: ${reason}`);
const execute = promisify(execFile);

const started: MountedServer[] = [];
async function serve(...args: string[]): Promise<MountedServer> {
  const server = await startServer(args);
  started.push(server);
  return server;
}
afterEach(async () => {
  for (const server of started.splice(0)) await server.stop();
});

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no error',
    (error: NodeJS.ErrnoException) => error.code ?? String(error),
  );

// Each starts a Node or two of its own, on a machine with other work.
describe.skipIf(reason !== undefined)('FUSE: mounts', { timeout: 60_000 }, () => {
  test('the file system in memory keeps what the manual pages promise', async () => {
    const { path } = await serve('memory', 'TARGET');
    const script = fileURLToPath(new URL('posix-calls.py', import.meta.url));
    const { stdout } = await execute('/usr/bin/python3', [script, path]);
    expect(stdout).toBe('all held\n');
  });

  test('a passthrough tree shows its source, also by backing files of the kernel', async () => {
    const source = fs.mkdtempSync(join(tmpdir(), 'ssi-fuse-source-'));
    for (const more of [[], ['--backing']]) {
      const { path } = await serve('passthrough', 'TARGET', source, ...more);
      const data = Buffer.alloc(3_000_000, `${more}.`);
      fs.writeFileSync(`${path}/a`, data);
      expect(fs.readFileSync(`${source}/a`).equals(data)).toBe(true);
      expect(fs.readFileSync(`${path}/a`).equals(data)).toBe(true);
      fs.mkdirSync(`${path}/d`);
      fs.renameSync(`${path}/a`, `${path}/d/b`);
      expect(fs.readdirSync(`${source}/d`)).toEqual(['b']);
      expect(fs.statSync(`${path}/d/b`).mtimeMs).toBe(fs.statSync(`${source}/d/b`).mtimeMs);
      expect(await codeOf(fs.promises.rmdir(`${path}/d`))).toBe('ENOTEMPTY');
      fs.rmSync(`${path}/d`, { recursive: true });
      expect(fs.readdirSync(source)).toEqual([]);
    }
    fs.rmdirSync(source);
  });

  test('a handler that throws, rejects or answers too much is EIO, and the next is served', async () => {
    const { path, said } = await serve('fixed', 'TARGET');
    for (const name of ['throws', 'rejects', 'junk'])
      expect(await codeOf(fs.promises.readFile(`${path}/${name}`))).toBe('EIO');
    expect(fs.readFileSync(`${path}/data`, 'utf8')).toBe('first\n');
    expect(said()).toContain('thrown on purpose');
    expect(said()).toContain('rejected on purpose');
    expect(await codeOf(fs.promises.writeFile(`${path}/data`, 'x'))).toBe('ENOSYS');
  });

  test('what the kernel keeps is dropped when it is told to', async () => {
    const { path, child, line } = await serve('fixed', 'TARGET');
    expect(fs.readFileSync(`${path}/data`, 'utf8')).toBe('first\n');
    expect(fs.statSync(`${path}/data`).size).toBe(6);
    process.kill(child.pid as number, 'SIGUSR1');
    expect(await line('changed')).toBe('changed 0,0');
    expect(fs.statSync(`${path}/data`).size).toBe(11);
    expect(fs.readFileSync(`${path}/data`, 'utf8')).toBe('the second\n');
  });

  test('unmounting leaves nothing behind', async () => {
    const { path, child, line, mounts } = await serve('memory', 'TARGET');
    expect(mounts()).toHaveLength(1);
    fs.writeFileSync(`${path}/a`, 'x');
    process.kill(child.pid as number, 'SIGTERM');
    expect(await line('ended')).toBe('ended unmounted');
  });

  test('abort ends what waits for the server', async () => {
    const { path, child, line } = await serve('fixed', 'TARGET', '--stuck');
    const reading = codeOf(fs.promises.readFile(`${path}/stuck`));
    await line('read ');
    process.kill(child.pid as number, 'SIGUSR2');
    expect(['ECONNABORTED', 'ENOTCONN']).toContain(await reading);
    expect(await line('ended')).toMatch(/^ended (aborted|unmounted)$/);
  });

  test('a server that is killed is replaced, and the program that waits for it sees nothing', async () => {
    const server = await startServer(['TARGET'], 'supervised.ts');
    started.push(server);
    const reading = fs.promises.readFile(`${server.path}/stuck`, 'utf8');
    const [, unique] = (await server.line('read ')).split(' ');
    server.child.stdin?.write('SIGKILL\n');
    expect(await server.line(`read ${unique} true`)).toBeDefined();
    expect(await reading).toBe('first\n');
    expect(fs.readFileSync(`${server.path}/data`, 'utf8')).toBe('first\n');
  });

  test('a server lets go of its mount for the next one, and programs meanwhile see nothing', async () => {
    const server = await startServer(['TARGET'], 'supervised.ts');
    started.push(server);
    server.child.stdin?.write('SIGTERM\n');
    // Names that nobody asked for before: the kernel knows none of them.
    const answers: string[] = [];
    while (!server.said().includes('ended detached') || answers.length < 50)
      answers.push(await codeOf(fs.promises.stat(`${server.path}/absent-${answers.length}`)));
    expect(new Set(answers)).toEqual(new Set(['ENOENT']));
    expect(fs.readFileSync(`${server.path}/data`, 'utf8')).toBe('first\n');
  });
});
