// Locks in a real cluster: `ssi lock` on three nodes with their lock managers as processes of their own,
// holders that are killed, nodes that lose their power, and what `ssi locks` shows of it.
import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect } from '@ssi/client';
import type { ResourceInfo } from '@ssi/contracts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { value } from '../harness/busy.ts';
import {
  canRunNative,
  cli,
  follow,
  startCluster,
  type TestCluster,
  waitForStates,
} from '../harness/cluster.ts';
import { commandLine } from '../harness/command-line.ts';
import { waitUntil } from '../harness/wait-until.ts';

const giver = fileURLToPath(new URL('../harness/lock-giver.ts', import.meta.url));
type Followed = ReturnType<typeof follow>;

describe.skipIf(!canRunNative)('end to end: locks', { timeout: 60_000 }, () => {
  let cluster: TestCluster;
  let dir: string;
  const followed: Followed[] = [];

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'ssi-locks-'));
    cluster = await startCluster();
  }, 120_000);
  afterAll(async () => {
    for (const { child } of followed) killTree(child, 'SIGKILL');
    await cluster?.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  const lock = (...args: string[]): Followed => {
    const it = follow(cluster, 'lock', ...args);
    followed.push(it);
    return it;
  };
  const list = async (): Promise<ResourceInfo[]> => {
    const said = await commandLine(cluster, 'locks', '--json');
    expect(said.code, said.stderr).toBe(0);
    return JSON.parse(said.stdout) as ResourceInfo[];
  };
  /** The resource once it is as wanted. */
  const seen = (name: string, holders: number, waiters: number): Promise<ResourceInfo> =>
    waitUntil(
      `${name}: ${holders} hold it, ${waiters} wait`,
      async () =>
        (await list()).find(
          (r) =>
            r.resource === name && r.granted.length === holders && r.waiting.length === waiters,
        ),
      20_000,
      cluster.describe,
    );
  const printed = (it: Followed, pattern: RegExp): Promise<RegExpExecArray> =>
    waitUntil(
      String(pattern),
      () => pattern.exec(it.seen.stdout) ?? undefined,
      30_000,
      () => it.seen.stderr,
    );
  const holdScript = 'echo "token $SSI_LOCK_TOKEN"; exec sleep 600';
  const hold = (name: string, ...more: string[]): Followed =>
    lock(...more, name, '--', 'sh', '-c', holdScript);
  const tokenOf = async (it: Followed): Promise<bigint> =>
    BigInt((await printed(it, /token (\d+)/))[1] ?? '');

  test('one at a time over all nodes, each with a greater token than all before it', async () => {
    const path = join(mkdtempSync(join(dir, 'sections-')), 'all');
    const script = `echo "in $SSI_LOCK_NAME $SSI_LOCK_MODE $SSI_LOCK_TOKEN" >> ${path}; sleep 0.1; echo out >> ${path}`;
    const all = [1, 2, 3, 1, 2, 3].map((node) =>
      lock('--node', `${node}`, 'job', '--', 'sh', '-c', script),
    );
    for (const it of all) expect(await it.ended, it.seen.stderr).toBe(0);
    const lines = readFileSync(path, 'utf8').trim().split('\n');
    const entries = lines.filter((_, i) => i % 2 === 0);
    expect(lines.filter((_, i) => i % 2 === 1)).toEqual(Array(6).fill('out'));
    const tokens = entries.map((line) => BigInt(/^in job EX (\d+)$/.exec(line)?.[1] ?? -1));
    expect(tokens).toHaveLength(6);
    expect(tokens.every((token, i) => token > (tokens[i - 1] ?? 0n))).toBe(true);
    expect(await list()).toEqual([]);
  });

  test('ssi locks: who holds, who waits for whom, as table, tree, JSON, and again and again', async () => {
    const holder = hold('shown', '--node', '1', '--mode', 'PR');
    await seen('shown', 1, 0);
    const waiter = hold('shown', '--node', '2');
    const shown = await seen('shown', 1, 1);
    expect(shown).toMatchObject({ lockspace: 'default', master: 1, recovering: false });
    expect(shown.granted[0]).toMatchObject({ node: 1, granted: 'PR' });
    expect(shown.waiting[0]).toMatchObject({ node: 2, requested: 'EX' });
    const table = await commandLine(cluster, 'locks');
    expect(table.stdout).toMatch(/default +shown +1 +PR +granted +sh \d+@\S+@1 +-/);
    expect(table.stdout).toMatch(/default +shown +1 +->EX +waiting +sh \d+@\S+@2/);
    const tree = await commandLine(cluster, 'locks', '--tree');
    expect(tree.stdout).toMatch(/default\/shown {2}master 1, directory [123]\n/);
    expect(tree.stdout).toMatch(/\n {4}->EX sh \S+@2 waits for PR sh \S+@1\n/);
    const watched = follow(cluster, 'locks', '--watch', '--delay', '0.1', '--json');
    followed.push(watched);
    await printed(watched, /"shown"[\s\S]*"shown"/);
    watched.child.kill('SIGINT');
    expect([0, 130]).toContain(await watched.ended);
    killTree(holder.child, 'SIGTERM');
    expect(await holder.ended).toBe(128 + 15);
    expect(await tokenOf(waiter)).toBeGreaterThan(0n);
    killTree(waiter.child, 'SIGTERM');
    await waiter.ended;
    expect(await list()).toEqual([]);
  });

  test('Ctrl-C while it waits: 130, and neither lock nor waiter is left', async () => {
    const holder = hold('interrupted', '--node', '2');
    const token = await tokenOf(holder);
    const waiter = hold('interrupted', '--node', '3');
    await seen('interrupted', 1, 1);
    waiter.child.kill('SIGINT');
    expect(await waiter.ended).toBe(130);
    expect(waiter.seen.stdout).toBe('');
    const after = await seen('interrupted', 1, 0);
    expect(after.granted[0]?.token).toBe(`${token}`);
    killTree(holder.child, 'SIGTERM');
    await holder.ended;
    expect(await list()).toEqual([]);
  });

  test('what cannot be is said at once, each with its errno', async () => {
    const holder = hold('taken', '--node', '1');
    await tokenOf(holder);
    const run = (...args: string[]) => commandLine(cluster, 'lock', ...args, '--', 'echo', 'ran');
    const refused = async (code: number, words: RegExp, ...args: string[]): Promise<void> => {
      const said = await run(...args);
      expect(said.stderr).toMatch(words);
      expect({ code: said.code, stdout: said.stdout }).toEqual({ code, stdout: '' });
    };
    await refused(1, /ETIMEDOUT/, '--timeout', '100ms', 'taken');
    await refused(1, /EAGAIN/, '--noqueue', '--node', '3', 'taken');
    await refused(1, /EAGAIN/, '--noqueue', '--mode', 'CR', 'taken');
    await refused(1, /EHOSTDOWN/, '--node', '9', 'taken');
    await refused(2, /64 bytes/, 'n'.repeat(65));
    await refused(2, /64 bytes/, 'ü'.repeat(33));
    await refused(2, /64 bytes/, '');
    await refused(2, /lockspace/i, '--lockspace', 'a b', 'taken');
    await refused(2, /mode/, '--mode', 'XX', 'taken');
    await refused(2, /time/, '--timeout', 'soon', 'taken');
    const missing = await commandLine(cluster, 'lock', 'free', '--', '/nonexistent');
    expect(missing).toMatchObject({ code: 127, stderr: expect.stringMatching(/ENOENT/) });
    expect((await commandLine(cluster, 'lock', 'free')).code).toBe(2);
    const beside = await commandLine(cluster, 'lock', '-m', 'NL', 'taken', '--', 'true');
    expect(beside.code, beside.stderr).toBe(0);
    expect((await list()).map((r) => r.resource)).toEqual(['taken']);
    killTree(holder.child, 'SIGTERM');
    await holder.ended;
  });

  test('a holder that is killed with SIGKILL: who waits has it when its session is over', async () => {
    const holder = hold('orphaned', '--node', '1');
    const before = await tokenOf(holder);
    const waiter = hold('orphaned', '--node', '2');
    await seen('orphaned', 1, 1);
    killTree(holder.child, 'SIGKILL');
    expect(await tokenOf(waiter)).toBeGreaterThan(before);
    killTree(waiter.child, 'SIGTERM');
    await waiter.ended;
    expect(await list()).toEqual([]);
  });

  test('a holder that runs on a node is killed: who waits has the lock at once', async () => {
    const held = [process.execPath, cli, '--cluster', cluster.name, 'lock', 'inside'];
    const argv = [...held, '--', 'sleep', '600'];
    const env = { PATH: '/usr/bin:/bin' };
    const handle = value(await connect({ cluster: cluster.name }));
    const { pid } = value(await handle.run({ argv, env, cwd: '/', node: 2 }));
    const { granted } = await seen('inside', 1, 0);
    expect(granted[0]?.pid).toBe(pid);
    const waiter = hold('inside', '--node', '1');
    await seen('inside', 1, 1);
    const began = performance.now();
    value(await handle.kill(pid, 9));
    await tokenOf(waiter);
    // The session alone would last for 10 s.
    expect(performance.now() - began).toBeLessThan(5_000);
    await handle.close();
    killTree(waiter.child, 'SIGTERM');
    await waiter.ended;
  });

  test('a command under ssi lock moves, and moves again: the lock is its own all the while, until it ends', async () => {
    const argv = [process.execPath, cli, '--cluster', cluster.name, 'lock', 'travels'];
    const handle = value(await connect({ cluster: cluster.name }));
    const env = { PATH: '/usr/bin:/bin' };
    const started = { argv: [...argv, '--', 'sleep', '600'], env, cwd: '/', node: 2 };
    const { pid } = value(await handle.run(started));
    const before = (await seen('travels', 1, 0)).granted[0];
    const waiter = hold('travels', '--node', '1');
    await seen('travels', 1, 1);
    for (const to of [3, 2]) {
      value(await handle.migrate(pid, to));
      expect(value(await handle.where(pid)).node).toBe(to);
      expect((await seen('travels', 1, 1)).granted).toEqual([before]);
    }
    // Longer than a session lasts that nobody hears of.
    await new Promise((done) => setTimeout(done, 12_000));
    expect((await seen('travels', 1, 1)).granted).toEqual([before]);
    value(await handle.kill(pid, 9));
    expect(await tokenOf(waiter)).toBeGreaterThan(BigInt(before?.token ?? 0));
    await handle.close();
    killTree(waiter.child, 'SIGTERM');
    await waiter.ended;
  });

  for (const keeper of [1, 2])
    test(`a holder that has moved hears who waits (its lock manager is node ${keeper})`, async () => {
      const handle = value(await connect({ cluster: cluster.name }));
      const argv = [process.execPath, giver, cluster.name, `${keeper}`, 'given'];
      const env = { PATH: '/usr/bin:/bin' };
      const { pid } = value(await handle.run({ argv, env, cwd: '/', node: 2 }));
      const before = (await seen('given', 1, 0)).granted[0];
      value(await handle.migrate(pid, 3));
      expect((await seen('given', 1, 0)).granted).toEqual([before]);
      const waiter = hold('given', '--node', '1');
      expect(await tokenOf(waiter)).toBeGreaterThan(BigInt(before?.token ?? 0));
      expect(value(await handle.wait(pid))).toMatchObject({ code: 0 });
      await handle.close();
      killTree(waiter.child, 'SIGTERM');
      await waiter.ended;
      expect(await list()).toEqual([]);
    });

  test('who uses a resource most becomes its master; what others hold there stays, and tokens grow', async () => {
    const handle = value(await connect({ cluster: cluster.name }));
    const here = value(await handle.lockspace('default', { node: 1 }));
    const there = value(await handle.lockspace('default', { node: 2 }));
    const kept = value(await here.lock('wanders', 'CR'));
    expect((await seen('wanders', 1, 0)).master).toBe(1);
    const tokens: bigint[] = [];
    const masterNow = await waitUntil(
      'node 2 is master',
      async () => {
        const lock = value(await there.lock('wanders', 'PW'));
        tokens.push(BigInt(lock.token ?? 0));
        const { master } = await seen('wanders', 2, 0);
        value(await there.unlock(lock));
        return master === 2 ? master : undefined;
      },
      40_000,
    );
    expect(masterNow).toBe(2);
    expect(tokens.every((token, i) => i === 0 || token > (tokens[i - 1] ?? 0n))).toBe(true);
    const refused = await there.lock('wanders', 'EX', { flags: ['NOQUEUE'] });
    expect(refused).toMatchObject({ ok: false, errno: 'EAGAIN' });
    value(await here.unlock(kept));
    await there.close();
    await here.close();
    await handle.close();
    expect(await list()).toEqual([]);
  });

  test('the lock manager of the holder is killed: holder and waiter notice nothing', async () => {
    const holder = hold('restarted', '--node', '3');
    const before = await tokenOf(holder);
    const waiter = hold('restarted', '--node', '1');
    await seen('restarted', 1, 1);
    const pid = cluster.servicePid(3, 'dlm');
    process.kill(pid, 'SIGKILL');
    const again = await cluster.ssi('lock', '--node', '3', 'other', '--', 'true');
    expect(again, again.stderr).toMatchObject({ code: 0 });
    const { granted } = await seen('restarted', 1, 1);
    expect(granted[0]?.token).toBe(String(before));
    expect(holder.child.exitCode).toBeNull();
    killTree(holder.child, 'SIGTERM');
    await holder.ended;
    expect(await tokenOf(waiter)).toBeGreaterThan(before);
    killTree(waiter.child, 'SIGTERM');
    await waiter.ended;
    expect(await list()).toEqual([]);
  });

  test('the node that keeps the lock dies: the command ends, 125; the waiter has the lock; the node comes back', async () => {
    const holder = hold('powerless', '--node', '3');
    const before = await tokenOf(holder);
    const elsewhere = hold('kept', '--node', '1');
    await tokenOf(elsewhere);
    const waiter = hold('powerless', '--node', '2');
    await seen('powerless', 1, 1);
    const killed = await cluster.ssi('node', 'kill', '3');
    expect(killed, killed.stderr).toMatchObject({ code: 0 });
    expect(await tokenOf(waiter)).toBeGreaterThan(before);
    expect(await holder.ended).toBe(125);
    expect(holder.seen.stderr).toMatch(/ESRCH/);
    await seen('kept', 1, 0);
    expect(elsewhere.child.exitCode).toBeNull();
    for (const it of [waiter, elsewhere]) {
      killTree(it.child, 'SIGTERM');
      await it.ended;
    }
    const started = await cluster.ssi('node', 'start', '3');
    expect(started, started.stderr).toMatchObject({ code: 0 });
    await waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' });
    const again = await cluster.ssi('lock', '--node', '3', 'powerless', '--', 'true');
    expect(again, again.stderr).toMatchObject({ code: 0 });
    expect(await list()).toEqual([]);
  });
});

/** The command and what it runs. */
function killTree(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const children = execFileSync('ps', ['-o', 'pid=', '--ppid', `${child.pid}`], {
    encoding: 'utf8',
  });
  child.kill(signal);
  if (signal !== 'SIGKILL') return;
  for (const pid of children.split('\n').map(Number).filter(Boolean)) process.kill(pid, signal);
}
