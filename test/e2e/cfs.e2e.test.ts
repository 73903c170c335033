// The cluster file system on three real nodes: what one writes the others see with their next call, locks hold
// across nodes, and nothing that was acknowledged is lost when the server's node dies.
import * as fs from 'node:fs';
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canRunNative, startCluster, type TestCluster } from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';

const possible = canRunNative && fs.existsSync('/dev/fuse');

describe.skipIf(!possible)('end to end: the cluster file system', { timeout: 90_000 }, () => {
  let cluster: TestCluster;
  let ssi: Ssi;

  beforeAll(async () => {
    cluster = await startCluster({ cfs: true });
    const connected = await connect({ cluster: cluster.name });
    if (!connected.ok) throw new Error(connected.detail);
    ssi = connected.value;
  }, 120_000);
  afterAll(async () => {
    await ssi?.close();
    await cluster?.stop();
    expect(fs.readFileSync('/proc/mounts', 'utf8')).not.toContain('fuse.cfs');
  }, 60_000);

  /** A path of the tree as node `num` has it. */
  const on = (num: number, name: string): string => {
    const node = cluster.file().nodes.find((n) => n.num === num);
    return `/proc/${node?.pid}/root/cluster/${name}`;
  };
  const start = async (node: number, script: string): Promise<number> => {
    const argv = ['/bin/sh', '-c', script];
    const run = await ssi.run({ argv, env: { PATH: '/usr/bin:/bin' }, cwd: '/', node });
    if (!run.ok) throw new Error(run.detail);
    return run.value.pid;
  };
  const isOver = (pid: number) => ssi.wait(pid);
  const server = async (): Promise<number> => {
    const nodes = await ssi.nodes();
    const named = nodes.ok ? nodes.value.find((n) => n.keyServices.includes('cfs')) : undefined;
    if (!named) throw new Error('nobody serves the file system');
    return named.num;
  };
  const lines = (count: number): string =>
    Array.from({ length: count }, (_, i) => `${i + 1}\n`).join('');

  test('what one node does the others see with their next call', () => {
    fs.writeFileSync(on(1, 'a'), 'one\n');
    expect(fs.readFileSync(on(2, 'a'), 'utf8')).toBe('one\n');
    const open = fs.openSync(on(3, 'a'), 'r');
    fs.appendFileSync(on(2, 'a'), 'two\n');
    fs.appendFileSync(on(1, 'a'), 'three\n');
    expect(fs.fstatSync(open).size).toBe(14);
    fs.renameSync(on(2, 'a'), on(2, 'b'));
    expect(fs.existsSync(on(1, 'a'))).toBe(false);
    expect(fs.readdirSync(on(3, ''))).toEqual(['b']);
    fs.unlinkSync(on(1, 'b'));
    expect(fs.existsSync(on(2, 'b'))).toBe(false);
    expect(fs.readFileSync(open, 'utf8')).toBe('one\ntwo\nthree\n');
    fs.closeSync(open);
    const large = Buffer.alloc(3_000_000, 'cluster ');
    fs.writeFileSync(on(3, 'large'), large);
    fs.truncateSync(on(2, 'large'), 2_000_001);
    expect(fs.readFileSync(on(1, 'large')).equals(large.subarray(0, 2_000_001))).toBe(true);
  });

  test('appends of three nodes at a time are all there, each once', async () => {
    const count = 100;
    const script = (n: number) =>
      `i=0; while [ $i -lt ${count} ]; do echo ${n}.$i >> /cluster/log || exit 1; i=$((i+1)); done`;
    const pids = await Promise.all([1, 2, 3].map((n) => start(n, script(n))));
    for (const pid of pids) expect(await isOver(pid)).toMatchObject({ ok: true });
    const wanted = [1, 2, 3].flatMap((n) => Array.from({ length: count }, (_, i) => `${n}.${i}`));
    expect(fs.readFileSync(on(1, 'log'), 'utf8').trim().split('\n').sort()).toEqual(wanted.sort());
  });

  test('a lock of one node keeps the others out until it is let go', async () => {
    const holder = await start(
      1,
      'flock /cluster/lock sh -c "echo > /cluster/held; while [ ! -e /cluster/free ]; do sleep 0.1; done"',
    );
    await waitUntil('it is held', () => fs.existsSync(on(2, 'held')), 20_000, cluster.describe);
    const refused = await start(2, 'flock -n /cluster/lock true; echo $? > /cluster/refused');
    await isOver(refused);
    expect(fs.readFileSync(on(3, 'refused'), 'utf8')).toBe('1\n');
    const waiting = await start(3, 'flock /cluster/lock sh -c "echo > /cluster/got"');
    expect(fs.existsSync(on(1, 'got'))).toBe(false);
    fs.writeFileSync(on(2, 'free'), '');
    await isOver(holder);
    await waitUntil('the next has it', () => fs.existsSync(on(1, 'got')), 20_000, cluster.describe);
    await isOver(waiting);
  });

  test('a program with an open file moves, and goes on writing to it', async () => {
    const pid = await start(
      1,
      'exec 3>>/cluster/moved; i=0; while [ ! -e /cluster/end ]; do i=$((i+1)); echo $i >&3; done',
    );
    const size = () => fs.statSync(on(3, 'moved'), { throwIfNoEntry: false })?.size ?? 0;
    await waitUntil('it writes', () => size() > 50, 20_000, cluster.describe);
    const moved = await ssi.migrate(pid, 2);
    expect(moved).toMatchObject({ ok: true });
    const before = size();
    await waitUntil('it goes on', () => size() > before + 50, 20_000, cluster.describe);
    fs.writeFileSync(on(3, 'end'), '');
    await isOver(pid);
    const text = fs.readFileSync(on(1, 'moved'), 'utf8');
    expect(text).toBe(lines(text.trim().split('\n').length));
  });

  test('a program that has locked a file of the tree stays until it lets go', async () => {
    const until = (name: string) => `while [ ! -e /cluster/${name} ]; do sleep 0.05; done`;
    // Whoever asked for the lock has ended: it is with the open file.
    const pid = await start(
      1,
      `exec 9>/cluster/mine; flock 9; echo > /cluster/has; ${until('free.mine')}
       flock -u 9; echo > /cluster/freed; ${until('end.mine')}`,
    );
    await waitUntil('it has it', () => fs.existsSync(on(2, 'has')), 20_000, cluster.describe);
    expect(await ssi.migrate(pid, 2)).toMatchObject({
      ok: false,
      errno: 'EOPNOTSUPP',
      detail: expect.stringContaining('ELOCK'),
    });
    fs.writeFileSync(on(3, 'free.mine'), '');
    await waitUntil('it let go', () => fs.existsSync(on(2, 'freed')), 20_000, cluster.describe);
    expect(await ssi.migrate(pid, 2)).toMatchObject({ ok: true });
    fs.writeFileSync(on(3, 'end.mine'), '');
    await isOver(pid);
  });

  test("the server's node dies: the others go on, and nothing acknowledged is lost or doubled", async () => {
    const dead = await server();
    const other = dead === 1 ? 2 : 1;
    const count = 600;
    const pid = await start(
      other,
      `i=0; while [ $i -lt ${count} ]; do i=$((i+1)); echo $i >> /cluster/after || exit 1; done`,
    );
    const size = () => fs.statSync(on(other, 'after'), { throwIfNoEntry: false })?.size ?? 0;
    await waitUntil('it writes', () => size() > 100, 20_000, cluster.describe);
    await cluster.ssi('node', 'kill', String(dead));
    expect(await isOver(pid)).toMatchObject({ ok: true });
    expect(fs.readFileSync(on(other, 'after'), 'utf8')).toBe(lines(count));
    expect(await server()).not.toBe(dead);
    expect(fs.statSync(on(other, 'large')).size).toBe(2_000_001);
  });

  test('a client that is killed is started again, and its node has the tree again', async () => {
    const num = await server();
    process.kill(cluster.servicePid(num, 'cfs-client'), 'SIGKILL');
    const back = () => {
      try {
        return fs.readFileSync(on(num, 'refused'), 'utf8') === '1\n';
      } catch {
        return false; // ENOTCONN, or nothing mounted for a moment.
      }
    };
    await waitUntil('the mount is back', back, 20_000, cluster.describe);
  });
});
