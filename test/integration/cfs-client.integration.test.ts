// The mount of the cluster file system on the metadata server's own store, in one process: what a program does
// through the kernel is there after a kill -9, and what was unlinked is gone.
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { waitUntil } from '../harness/wait-until.ts';

const startMs = 30_000;
const serve = fileURLToPath(new URL('../../services/cfs-client/test/serve.ts', import.meta.url));
const possible =
  process.platform === 'linux' && process.getuid?.() === 0 && fs.existsSync('/dev/fuse');
if (!possible) console.warn('CFS: the mount is not tested: it needs root and /dev/fuse');

const folder = fs.mkdtempSync(join(tmpdir(), 'ssi-cfs-client-'));
const target = join(folder, 'mount');
fs.mkdirSync(target);
let stop = async (_: NodeJS.Signals): Promise<void> => {};
afterAll(async () => {
  await stop('SIGKILL');
  fs.rmSync(folder, { recursive: true });
});

/** Mounts in a mount namespace of its own, which ends with it; where this process reaches it. */
async function start(): Promise<string> {
  const args = ['--mount', '--propagation', 'private', process.execPath, '--no-warnings', serve];
  const child = spawn('unshare', [...args, target, join(folder, 'store')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((done) => child.once('exit', () => done()));
  let said = '';
  child.stdout.on('data', (text) => {
    said += text;
  });
  stop = async (signal) => {
    child.kill(signal);
    await ended;
  };
  await waitUntil(
    'the mount',
    () => said.startsWith('ready'),
    startMs,
    () => said,
  );
  return `/proc/${child.pid}/root${target}`;
}

const codeOf = (work: () => void): string => {
  try {
    work();
    return 'ok';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
};

test.skipIf(!possible)(
  'CFS: mount: what programs did is there after kill -9, and errors are those of the manual',
  { timeout: 90_000 },
  async () => {
    let at = await start();
    const large = Buffer.alloc(3_000_000, 'cluster ');
    fs.mkdirSync(`${at}/d`);
    fs.writeFileSync(`${at}/d/large`, large);
    fs.writeFileSync(`${at}/log`, 'one\n');
    fs.appendFileSync(`${at}/log`, 'two\n');
    fs.linkSync(`${at}/log`, `${at}/d/same`);
    fs.symlinkSync('d/large', `${at}/link`);
    fs.writeFileSync(`${at}/gone`, 'x');
    const open = fs.openSync(`${at}/gone`, 'r+');
    fs.unlinkSync(`${at}/gone`);
    fs.writeSync(open, 'still', 0);
    expect(fs.readFileSync(open, 'utf8')).toBe('still');
    expect(fs.fstatSync(open).nlink).toBe(0);
    fs.closeSync(open);
    fs.renameSync(`${at}/d`, `${at}/e`);
    fs.truncateSync(`${at}/e/large`, 2_000_000);
    fs.chmodSync(`${at}/e/large`, 0o640);
    expect(codeOf(() => fs.rmdirSync(`${at}/e`))).toBe('ENOTEMPTY');
    expect(codeOf(() => fs.renameSync(`${at}/e`, `${at}/e/within`))).toBe('EINVAL');
    expect(codeOf(() => fs.mkdirSync(`${at}/${'n'.repeat(256)}`))).toBe('ENAMETOOLONG');
    expect(codeOf(() => fs.readdirSync(`${at}/log`))).toBe('ENOTDIR');
    expect(fs.statfsSync(at).bavail).toBeGreaterThan(0);

    await stop('SIGKILL');
    at = await start();
    expect(fs.readdirSync(at)).toEqual(['e', 'link', 'log']);
    expect(fs.readFileSync(`${at}/e/large`).equals(large.subarray(0, 2_000_000))).toBe(true);
    expect(fs.statSync(`${at}/e/large`).mode).toBe(0o100640);
    expect(fs.readFileSync(`${at}/e/same`, 'utf8')).toBe('one\ntwo\n');
    expect([fs.statSync(`${at}/log`).nlink, fs.readlinkSync(`${at}/link`)]).toEqual([2, 'd/large']);
    expect(fs.readdirSync(join(folder, 'store/data'))).toHaveLength(2);
    fs.rmSync(`${at}/e`, { recursive: true });
    expect(fs.readdirSync(at)).toEqual(['link', 'log']);
    await stop('SIGTERM');
  },
);
