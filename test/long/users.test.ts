// People with credentials of their own: what each role may, whose processes are whose, and how soon a
// credential that is taken back is worth nothing.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  canRunNative,
  runSsi,
  startCluster,
  type TestCluster,
  waitForStates,
} from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';

describe.skipIf(!canRunNative)('end to end: people and their roles', { timeout: 180_000 }, () => {
  let cluster: TestCluster;
  const dir = mkdtempSync(`${tmpdir()}/ssi-users-`);
  beforeAll(async () => {
    cluster = await startCluster({ nodes: 2 });
  });
  afterAll(async () => {
    await cluster?.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  const give = async (name: string, ...how: string[]): Promise<string> => {
    const made = await cluster.ssi('user', 'add', name, ...how);
    expect(made.stderr).toBe('');
    const path = `${dir}/${name}.json`;
    writeFileSync(path, made.stdout, { mode: 0o600 });
    return path;
  };
  const as = (creds: string, ...args: string[]) => runSsi(args, { SSI_CREDS: creds });
  const start = async (creds: string, ...program: string[]): Promise<string> => {
    const run = await as(creds, 'run', '--node', '1', '--detach', '--', ...program);
    expect(run.stderr).toBe('');
    return run.stdout.trim();
  };

  test('operate: runs as itself, signals and moves its own, and nobody else’s', async () => {
    const alice = await give('alice', '--role', 'operate', '--uid', '4321', '--gid', '4322');
    const { pid } = await cluster.json<{ pid: number }>(
      ...['run', '--node', '1', '--detach', '--json', '--', '/bin/sleep', '1000'],
    );
    expect((await as(alice, 'run', '--node', '1', '--', '/usr/bin/id')).stdout).toContain(
      'uid=4321 gid=4322',
    );
    const own = await start(alice, '/bin/sleep', '1000');
    expect((await as(alice, 'ps')).stdout).toContain(String(pid));
    for (const [verb = '', ...rest] of [['kill'], ['migrate', '2'], ['logs']])
      expect((await as(alice, verb, String(pid), ...rest)).stderr, verb).toContain('EPERM');
    expect((await as(alice, 'migrate', own, '2')).code).toBe(0);
    expect((await as(alice, 'kill', own)).code).toBe(0);
    expect((await as(alice, 'wait', own)).code).toBe(143);
    // A client that says it is somebody else is not believed.
    const asked = await connect({ env: { SSI_CREDS: alice } });
    if (!asked.ok) throw new Error(asked.detail);
    const root = { argv: ['/usr/bin/id'], env: {}, cwd: '/', uid: 0, gid: 0, node: 1 };
    expect(await asked.value.run(root)).toMatchObject({ errno: 'EPERM' });
    expect(await asked.value.shutdownNode(2)).toMatchObject({ errno: 'EPERM' });
    await asked.value.close();
    expect((await cluster.ssi('kill', '-KILL', String(pid))).code).toBe(0);
  });

  test('read: looks, and changes nothing', async () => {
    const bob = await give('bob', '--role', 'read', '--uid', '4323');
    expect((await as(bob, 'nodes')).code).toBe(0);
    expect((await as(bob, 'ps')).code).toBe(0);
    for (const args of [
      ['run', '--', '/bin/true'],
      ['kill', '65600'],
    ])
      expect((await as(bob, ...args)).stderr, args[0]).toContain('EPERM');
  });

  test('user 0 is no operator, and a name has one credential', async () => {
    const zero = await cluster.ssi('user', 'add', 'zero', '--role', 'operate', '--uid', '0');
    expect(zero.stderr).toContain('EINVAL');
    const first = await give('carol', '--role', 'read', '--uid', '4324');
    const kept = `${dir}/carol-1.json`;
    copyFileSync(first, kept);
    await give('carol', '--role', 'operate', '--uid', '4324');
    expect((await as(kept, 'ps')).stderr).toContain('EACCES');
    expect((await as(first, 'run', '--node', '1', '--', '/bin/true')).code).toBe(0);
    expect((await cluster.ssi('user', 'list')).stdout).toMatch(/carol +operate/);
  });

  test('revoked: within a second its connection is closed, and it gets no other', async () => {
    const dave = await give('dave', '--role', 'operate', '--uid', '4325');
    const connected = await connect({ env: { SSI_CREDS: dave } });
    if (!connected.ok) throw new Error(connected.detail);
    const ssi: Ssi = connected.value;
    expect((await ssi.ps()).ok).toBe(true);
    let takenMs = 0;
    const asking = waitUntil(
      'nothing is answered any more',
      async () => {
        const startMs = performance.now();
        const reply = await Promise.race([
          ssi.ps(),
          new Promise<undefined>((done) => setTimeout(() => done(undefined), 500)),
        ]);
        takenMs = startMs;
        return !reply?.ok;
      },
      10_000,
    );
    expect((await cluster.ssi('user', 'revoke', 'dave')).code).toBe(0);
    const revokedMs = performance.now();
    await asking;
    expect(takenMs - revokedMs).toBeLessThan(1_000);
    await ssi.close();
    expect((await as(dave, 'ps')).stderr).toContain('EACCES');
  });

  test('a revoked node: off the bus and off every direct connection within a second, DOWN, and back with new keys', async () => {
    const guard = cluster.file().nodes.find((n) => n.num === 1)?.pid ?? 0;
    /** Direct connections of node 1 with node 2, of any service. */
    const { prefix } = cluster.file().network ?? {};
    const direct = (): number =>
      execFileSync('nsenter', ['-t', String(guard), '-n', 'ss', '-tnH', 'state', 'established'])
        .toString()
        .split('\n')
        .filter((line) => line.includes(`${prefix}.2:`)).length;
    await waitUntil('the nodes talk directly', () => direct() > 0, 20_000);
    const started = await cluster.json<{ pid: number }>(
      ...['run', '--node', '2', '--detach', '--json', '--', '/bin/sleep', '1000'],
    );
    expect((await cluster.ssi('node', 'start', '3')).code).toBe(0);
    await waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' }, 30_000);
    expect((await cluster.ssi('node', 'revoke', '2')).code).toBe(0);
    const revokedMs = performance.now();
    // When the last look began that still saw one.
    let seenMs = revokedMs;
    const none = (): boolean => {
      const startMs = performance.now();
      if (direct() === 0) return true;
      seenMs = startMs;
      return false;
    };
    await waitUntil('no direct connection is left', none, 10_000);
    expect(seenMs - revokedMs).toBeLessThan(1_000);
    await waitForStates(cluster, { 2: 'DOWN' }, 20_000);
    expect((await cluster.ssi('kill', String(started.pid))).stderr).toMatch(/ESRCH|EHOSTDOWN/);
    await cluster.ssi('node', 'stop', '2');
    expect((await cluster.ssi('node', 'start', '2')).code).toBe(0);
    await waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' }, 30_000);
  });
});
