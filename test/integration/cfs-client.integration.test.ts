// The mount of the cluster file system on the metadata server's own store, in one process: what a program does
// through the kernel is there after a kill -9, and what was unlinked is gone.
import { execFileSync, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { punchHole, seek } from '@ssi/linux';
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

/** [open(2); Node has no name for it] */
const O_TMPFILE = 0o20200000;

test.skipIf(!possible)(
  'CFS: mount: a file without a name gets one once, room is taken, and holes are found',
  { timeout: 60_000 },
  async () => {
    let at = await start();
    const kept = () => fs.readdirSync(join(folder, 'store/data')).length;
    const before = kept();
    const made = fs.openSync(at, O_TMPFILE | fs.constants.O_RDWR, 0o640);
    const lost = fs.openSync(at, O_TMPFILE | fs.constants.O_RDWR, 0o600);
    fs.writeSync(made, 'made');
    fs.writeSync(lost, 'lost');
    expect([fs.fstatSync(made).nlink, fs.readFileSync(lost, 'utf8')]).toEqual([0, '']);
    const named = `${at}/named`;
    execFileSync('ln', ['-L', `/proc/${process.pid}/fd/${made}`, named]);
    expect([fs.statSync(named).nlink, fs.statSync(named).mode]).toEqual([1, 0o100640]);
    expect(fs.readFileSync(named, 'utf8')).toBe('made');
    fs.unlinkSync(named);
    expect(() =>
      execFileSync('ln', ['-L', `/proc/${process.pid}/fd/${made}`, named], { stdio: 'pipe' }),
    ).toThrow('No such file');
    fs.closeSync(made);

    const file = fs.openSync(`${at}/room`, 'w+');
    const room = (...args: string[]) => execFileSync('fallocate', [...args, `${at}/room`]);
    room('-l', '1000000');
    expect(fs.fstatSync(file).size).toBe(1_000_000);
    room('-n', '-o', '1000000', '-l', '5000');
    expect(fs.fstatSync(file).size).toBe(1_000_000);
    const text = Buffer.alloc(1_000_000, 'x');
    fs.writeSync(file, text, 0, text.length, 0);
    expect(seek(file, 0, 'hole')).toBe(1_000_000);
    expect(punchHole(file, 8_192, 65_536)).toBe(0);
    text.fill(0, 8_192, 8_192 + 65_536);
    expect(fs.readFileSync(`${at}/room`).equals(text)).toBe(true);
    expect([seek(file, 0, 'hole'), seek(file, 8_192, 'data')]).toEqual([8_192, 73_728]);
    expect(seek(file, 1_000_000, 'data')).toBe(-6);
    fs.ftruncateSync(file, 2_000_000);
    expect([seek(file, 1_500_000, 'hole'), seek(file, 1_500_000, 'data')]).toEqual([1_500_000, -6]);
    fs.closeSync(file);

    await stop('SIGKILL');
    expect(codeOf(() => fs.closeSync(lost))).toBe('ENOTCONN');
    at = await start();
    expect(fs.statSync(`${at}/room`).size).toBe(2_000_000);
    expect(kept()).toBe(before + 1);
    await stop('SIGTERM');
  },
);
